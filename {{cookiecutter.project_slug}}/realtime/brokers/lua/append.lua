-- Add a message, send it to all who listen, return its id. A key that is known belongs to a request
-- whose answer was lost.
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
