-- Gives all entries of a consumer back that was silent for too long, oldest first to be taken. Idempotent.
-- Silence is measured by the server's clock alone.
--
-- KEYS  1 the consumer's list, 2 pending, 3 consumers (sorted set consumer -> seconds when last seen)
-- ARGV  1 consumer, 2 seconds of silence that mean it is dead (0: don't ask)
-- Returns how many were given back.

local seen = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or 0)
local silence = tonumber(ARGV[2])
if silence > 0 and tonumber(redis.call('TIME')[1]) - seen < silence then
  return 0
end
-- The consumer pushes at the left, so its newest is leftmost and goes back first; the oldest ends up rightmost: next.
local count = 0
while redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT') do
  count = count + 1
end
redis.call('ZREM', KEYS[3], ARGV[1])
return count
