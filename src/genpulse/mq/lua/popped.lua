-- Records what a pop took: V of its class becomes the start tag of the popped hint (place.lua has the formula).
--
-- V is only a refinement: place.lua never lets it exceed the least tag queued, so a record that is late, repeated or
-- lost (a worker died after its pop) costs one place of fairness, not more. Idempotent.
--
-- KEYS  as place.lua
-- ARGV  1 score of the popped hint

local BAND = 2 ^ 48
local KEPT_S = 30 * 24 * 3600

local queue, virtual = KEYS[1], KEYS[2]
local score = tonumber(ARGV[1])

if redis.call('ZCARD', queue) == 0 then
  redis.call('DEL', virtual, KEYS[3], KEYS[4], KEYS[5])
  return
end
if score < 0 then
  return -- was moved to the front: it tells nothing about its class
end

local class = math.floor(score / BAND)
local low, high = string.format('%.0f', class * BAND), string.format('(%.0f', (class + 1) * BAND)
local head = redis.call('ZRANGEBYSCORE', queue, low, high, 'WITHSCORES', 'LIMIT', 0, 1)
if #head == 0 then
  redis.call('DEL', KEYS[2 + class])
  redis.call('HDEL', virtual, class)
  return
end
local least = tonumber(head[2]) - class * BAND
local last = tonumber(redis.call('HGET', virtual, class) or 0)
local now = math.min(math.max(last, score - class * BAND), least)
redis.call('HSET', virtual, class, string.format('%.0f', now))
redis.call('EXPIRE', virtual, KEPT_S)
