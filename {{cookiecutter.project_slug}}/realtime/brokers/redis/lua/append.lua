-- Append a message, publish it, and return its id. A known key belongs to a request that is retried
-- because its answer was lost.
local stream, key = KEYS[1], KEYS[2]
local message, length, seconds = ARGV[1], ARGV[2], ARGV[3]
local id = redis.call('GET', key)
if id then return id end
local epoch = string.match(open(stream), '^%d+')
id = redis.call('XADD', stream, 'MAXLEN', '~', length, epoch .. '-*', 'm', message)
redis.call('EXPIRE', stream, seconds)
redis.call('SET', key, id, 'EX', seconds)
redis.call('PUBLISH', stream, id .. ' ' .. message)
return id
