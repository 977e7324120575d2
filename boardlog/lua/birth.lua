-- Gives a board without entries its first one (L1): an anchor that *is* the snapshot's cursor, so that ids never fall
-- below it. A stream that was emptied but remembers a higher id takes a rebase instead, which makes every reader reload.
-- KEYS: log. ARGV: cursor id, cursor tag, anchor payload, rebase tag, rebase payload.
-- Returns 1 if this call gave birth, 0 if another did.
if redis.call('XLEN', KEYS[1]) > 0 then
  return 0
end
local born = redis.pcall('XADD', KEYS[1], ARGV[1], 't', ARGV[2], 'p', ARGV[3])
if type(born) == 'table' and born.err then
  redis.call('XADD', KEYS[1], '*', 't', ARGV[4], 'p', ARGV[5])
end
return 1
