-- Gives entries of consumers back, oldest first to be taken: those of one, or of all that were silent for too long.
-- Idempotent. Silence is measured by the server's clock alone.
--
-- KEYS  1 pending, 2 consumers (sorted set consumer -> seconds when last seen)
-- ARGV  1 what the names of consumers' lists begin with, 2 a consumer or '', then for '':
--       3 seconds of silence that mean it is dead, 4 seconds after which it is forgotten
-- Returns how many were given back.

local function give_back(consumer)
  local count = 0
  -- A consumer pushes at the left, so its newest is leftmost and goes back first; the oldest ends up rightmost: next.
  while redis.call('LMOVE', ARGV[1] .. consumer, KEYS[1], 'LEFT', 'RIGHT') do
    count = count + 1
  end
  return count
end

if ARGV[2] ~= '' then
  return give_back(ARGV[2])
end
local now = tonumber(redis.call('TIME')[1])
local count = 0
for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]))) do
  count = count + give_back(consumer)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[4]))
return count
