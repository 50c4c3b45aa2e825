-- Moves an entry of a consumer to the rejected ones, with its problem. Idempotent: an entry that is gone is left alone.
--
-- KEYS  1 the consumer's list, 2 rejected
-- ARGV  1 entry, 2 `{"entry", "problem"}` as JSON, 3 how many rejected ones are kept
-- Returns 1 when it was moved.

redis.call('LLEN', KEYS[2]) -- fails before anything is moved when somebody made something else of it
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return 0
end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[3]) - 1)
return 1
