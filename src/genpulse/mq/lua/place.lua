-- Gives hints their place in a pool's queue: pushes new ones, or moves queued ones to the class they have now.
--
-- The score of a hint
--
--     score = class * 2^48 + S            class: the hint's rank, high 1, normal 2, low 3
--     S     = max(V, F[tenant])           its start tag: start-time fair queueing, one unit of service per hint
--     F[tenant] = S + 1                   the finish tag of the tenant's newest hint in this class
--     V     = the start tag of the hint popped last in this class (see popped.lua), never above the least tag queued
--
--   Lower is sooner. Equal scores are ordered by member, that is by id, that is by age (our ids are UUIDv7). A class
--   starts again at S = 0 whenever it is empty. A rank of 0 or less is the front: its score is rank - 1, below those of
--   all classes, so the least rank is the first and the order at the front is that of the ledger.
--
-- What follows
--   - A tenant with 10,000 queued hints has them at S, S+1, S+2 ...; another tenant's single hint gets S = V and so goes
--     ahead of all but the head of them, whenever it comes. Newcomers all get V: first come, first served.
--   - All tags are whole numbers. A class has room for 2^48 pops between two moments of being empty, and the largest
--     score is below 2^50: exact in a double (2^53).
--   - F has at most one entry per tenant, and only of those above V (the others would get V anyway); it is emptied with
--     its class, and expires after 30 days without a push.
--
-- Rebuild after a wipe: the reconciler pushes all queued ids again in order of class and age. V and every F start at 0,
--   so each tenant gets the tags 0, 1, 2 ... for its own hints: the order within a tenant is kept and tenants are
--   interleaved again. Nothing else needs to be restored.
--
-- Idempotent: a queued id keeps its place, so a push may be repeated.
--
-- KEYS  1 queue, 2 virtual times (hash class -> V), 3 4 5 finish tags of class 1 2 3 (sorted sets tenant -> F)
-- ARGV  1 "push" or "requeue", then id, tenant, rank of each hint
-- Returns how many hints were placed.

local BAND = 2 ^ 48
local KEPT_S = 30 * 24 * 3600

local queue, virtual = KEYS[1], KEYS[2]
local requeue = ARGV[1] == 'requeue'

-- Lua's own number format has 14 digits, a score up to 16.
local function digits(number)
  return string.format('%.0f', number)
end

local clocks = {}

-- V of a class. One call only adds tags that are not below V, so it is computed once per call.
local function clock(class)
  if not clocks[class] then
    local low, high = digits(class * BAND), '(' .. digits((class + 1) * BAND)
    local head = redis.call('ZRANGEBYSCORE', queue, low, high, 'WITHSCORES', 'LIMIT', 0, 1)
    if #head == 0 then
      redis.call('DEL', KEYS[2 + class])
      redis.call('HDEL', virtual, class)
      clocks[class] = 0
    else
      local least = tonumber(head[2]) - class * BAND
      local last = tonumber(redis.call('HGET', virtual, class) or least)
      clocks[class] = math.min(last, least)
      redis.call('ZREMRANGEBYSCORE', KEYS[2 + class], '-inf', digits(clocks[class]))
    end
  end
  return clocks[class]
end

-- Is this the score of a hint of this rank?
local function fits(score, rank)
  if rank <= 0 then
    return score == rank - 1
  end
  return math.floor(score / BAND) == rank
end

local function place(id, tenant, class)
  if class <= 0 then
    redis.call('ZADD', queue, digits(class - 1), id)
    return
  end
  local finish = KEYS[2 + class]
  local start = math.max(clock(class), tonumber(redis.call('ZSCORE', finish, tenant) or 0))
  redis.call('ZADD', queue, digits(class * BAND + start), id)
  redis.call('ZADD', finish, digits(start + 1), tenant)
  redis.call('EXPIRE', finish, KEPT_S)
end

local placed = 0
for i = 2, #ARGV, 3 do
  local id, tenant, rank = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local found = redis.call('ZSCORE', queue, id)
  local score = found and tonumber(found)
  if not requeue and not score then
    place(id, tenant, rank)
    placed = placed + 1
  elseif requeue and score and not fits(score, rank) then
    redis.call('ZREM', queue, id)
    place(id, tenant, rank)
    placed = placed + 1
  end
end
return placed
