-- Takes entries of direct producers: those move from the pending ones to a consumer's list, each stamped with a task id.
--
-- An entry that was taken before has its stamp already and keeps it, so that it can't become two tasks. When the answer
-- is lost, the entries are in the consumer's list and go back to the pending ones with it (recover.lua). Of an entry that
-- is too large to be accepted only the beginning is kept: enough to tell, and to show among the rejected.
--
-- KEYS  1 the consumer's list, at whose head a BLMOVE has put an entry, 2 pending, 3 consumers
-- ARGV  1 the consumer, 2 how many bytes of an entry are kept, 3... ids, as many as entries may be taken (8 MiB at most)
-- Returns the stamped entries, oldest first.

local MOST_BYTES = 8 * 1024 * 1024

local function stamped(entry, id)
  if string.sub(entry, 1, 5) == 'task:' then
    return entry
  end
  return 'task:' .. id .. ' ' .. string.sub(entry, 1, tonumber(ARGV[2]))
end

-- Again, since it may have been wiped, or this consumer been taken for dead, while it waited.
redis.call('ZADD', KEYS[3], 'GT', redis.call('TIME')[1], ARGV[1])
local entry = redis.call('LPOP', KEYS[1])
local taken, bytes, id = {}, 0, 3
while entry and id <= #ARGV do
  taken[#taken + 1] = stamped(entry, ARGV[id])
  redis.call('LPUSH', KEYS[1], taken[#taken])
  bytes, id = bytes + #taken[#taken], id + 1
  entry = bytes < MOST_BYTES and id <= #ARGV and redis.call('RPOP', KEYS[2])
end
return taken
