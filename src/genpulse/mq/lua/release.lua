-- Gives an entry of a consumer back, as the next one to be taken. Idempotent.
--
-- KEYS  1 the consumer's list, 2 pending
-- ARGV  1 entry
-- Returns 1 when it was given back.

if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return 0
end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
