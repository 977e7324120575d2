#!lua flags=no-writes
-- Looks up positions in logs (L4): does each one's own entry still stand, and what is behind it? Only ids and tags leave.
-- KEYS: logs. ARGV: for each log the id and the tag of a position.
-- Returns for each log 0 if that entry is gone, 1 if nothing is behind it or the log cannot be read, else {id, tag}.
local found = {}
for index = 1, #KEYS do
  local entries = redis.pcall('XRANGE', KEYS[index], ARGV[2 * index - 1], '+', 'COUNT', 2)
  local own, behind = entries[1], entries[2]
  if entries.err then
    found[index] = 1
  elseif not own or own[1] ~= ARGV[2 * index - 1] or own[2][2] ~= ARGV[2 * index] then
    found[index] = 0
  elseif behind then
    found[index] = {behind[1], behind[2][1] == 't' and behind[2][2] or ''}
  else
    found[index] = 1
  end
end
return found
