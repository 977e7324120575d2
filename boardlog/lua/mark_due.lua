#!lua flags=allow-oom
-- Makes boards due for compaction after a delay, unless they are due earlier (L9: a hint, which may be lost). All times
-- are Redis' own.
-- Allowed to a full Redis (G5): it takes a name for each board at most.
-- KEYS: due set. ARGV: delay in ms, boards.
local now = redis.call('TIME')
local due = now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[1])
for index = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'LT', due, ARGV[index])
end
