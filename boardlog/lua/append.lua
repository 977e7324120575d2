-- Appends one entry and publishes it, linked to its predecessor (L3). Never creates a stream (L1).
-- KEYS: log. ARGV: tag, payload, channel, publish_payload_bytes_max.
-- Returns {previous id, previous tag, id}, or false if there is no log.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then
  return false
end
local previous_tag = last[2][1] == 't' and last[2][2] or ''
local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 't', ARGV[1], 'p', ARGV[2])
local message = last[1] .. ' ' .. previous_tag .. ' ' .. id .. ' ' .. ARGV[1]
if #ARGV[2] <= tonumber(ARGV[4]) then
  message = message .. '\n' .. ARGV[2]
end
redis.call('PUBLISH', ARGV[3], message)
return {last[1], previous_tag, id}
