-- Return the id of the last entry, and the entries after an id of the same epoch.
local stream, after, seconds = KEYS[1], ARGV[1], ARGV[2]
local last = open(stream)
redis.call('EXPIRE', stream, seconds)
if string.match(after, '^%d+') ~= string.match(last, '^%d+') then return {last, {}} end
return {last, redis.call('XRANGE', stream, '(' .. after, '+')}
