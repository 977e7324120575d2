#!lua flags=allow-oom
-- Takes the first due board under a lease: it comes back by itself when the lease runs out.
-- Allowed to a full Redis, as all that compaction needs: nothing else makes room again (G5).
-- KEYS: due set, leases, token counter. ARGV: lease in ms.
-- Returns {board, token}, or false if none is due.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local board = redis.call('ZRANGE', KEYS[1], '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, 1)[1]
if not board then
  return false
end
local token = redis.call('INCR', KEYS[3])
redis.call('ZADD', KEYS[1], now_ms + tonumber(ARGV[1]), board)
redis.call('HSET', KEYS[2], board, token)
return {board, token}
