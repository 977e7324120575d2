#!lua flags=allow-oom
-- Reconnects a log whose history lacks the snapshot's entry (L6): an entry above both the head and that cursor.
-- Allowed to a full Redis, where without it nothing of this log could be folded (G5).
-- KEYS: log. ARGV: cursor id, cursor tag, rebase tag, rebase payload, channel, cursor ms + 1.
-- Returns 1 if the log was rebased, 0 if it needs no rebase (the entry is there, or there is no log to reconnect).
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then
  return 0
end
local own = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1], 'COUNT', 1)[1]
if own and own[2][2] == ARGV[2] then
  return 0
end
local id = redis.pcall('XADD', KEYS[1], ARGV[6] .. '-0', 't', ARGV[3], 'p', ARGV[4])
if type(id) == 'table' and id.err then
  id = redis.call('XADD', KEYS[1], '*', 't', ARGV[3], 'p', ARGV[4])
end
redis.call('PUBLISH', ARGV[5], last[1] .. ' ' .. last[2][2] .. ' ' .. id .. ' ' .. ARGV[3] .. '\n' .. ARGV[4])
return 1
