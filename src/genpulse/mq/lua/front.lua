-- Moves a queued hint ahead of all others, `high` ones and those moved before included. Idempotent.
--
-- KEYS  1 queue
-- ARGV  1 id
-- Returns 1 when it is queued, else 0.

local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then
  return 0
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if tonumber(score) >= 0 or head[1] ~= ARGV[1] then
  redis.call('ZADD', KEYS[1], string.format('%.0f', math.min(tonumber(head[2]), 0) - 1), ARGV[1])
end
return 1
