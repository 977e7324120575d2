-- Trims below an id, but only while the committed snapshot's own entry stands in the stream (L8): after a failover or a
-- loss the same id may name another entry, or none, and MINID above the head would empty the stream.
-- KEYS: log. ARGV: own id, own tag, lowest id to keep.
-- Returns the number of entries trimmed, or -1 if the snapshot's entry is not there.
local own = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1], 'COUNT', 1)[1]
if not own or own[2][2] ~= ARGV[2] then
  return -1
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[3])
