-- Publishes messages: to the other GenPulse processes with this one's tag (pubsub.py says why), and those about tasks as
-- bare JSON to direct producers too. One script for a whole batch: a PUBLISH each costs the client ten times as much.
--
-- ARGV  1 this process's tag, then for each message: its wake channel, its public channel or '', its payload

for i = 2, #ARGV, 3 do
  redis.call('PUBLISH', ARGV[i], ARGV[1] .. ':' .. ARGV[i + 2])
  if ARGV[i + 1] ~= '' then
    redis.call('PUBLISH', ARGV[i + 1], ARGV[i + 2])
  end
end
