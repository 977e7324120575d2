-- Ends a claim, if it is still ours. With a delay the board stays due, else it leaves the set.
-- A full Redis allows it, because it begins with a deletion (G5).
-- KEYS: due set, leases. ARGV: board, token, delay in ms or -1.
-- Returns 1, or 0 if another worker has claimed the board meanwhile.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
if tonumber(ARGV[3]) < 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[3]), ARGV[1])
end
return 1
