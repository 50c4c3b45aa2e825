-- Takes entries of direct producers: those move from the pending ones to a consumer's list, each stamped with a task id.
--
-- An entry that was taken before has its stamp already and keeps it, so that it can't become two tasks. When the answer
-- is lost, the entries are in the consumer's list and go back to the pending ones with it (recover.lua).
--
-- KEYS  1 the consumer's list, 2 pending
-- ARGV  1 the entry that a BLMOVE put into the consumer's list, 2... ids, as many as entries may be taken
-- Returns the stamped entries, oldest first.

local function stamped(entry, id)
  if string.sub(entry, 1, 5) == 'task:' then
    return entry
  end
  return 'task:' .. id .. ' ' .. entry
end

if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
  return {} -- this consumer was taken for dead meanwhile, and its entry given back
end
local taken = { stamped(ARGV[1], ARGV[2]) }
redis.call('LPUSH', KEYS[1], taken[1])
for i = 3, #ARGV do
  local entry = redis.call('RPOP', KEYS[2])
  if not entry then
    break
  end
  taken[#taken + 1] = stamped(entry, ARGV[i])
  redis.call('LPUSH', KEYS[1], taken[#taken])
end
return taken
