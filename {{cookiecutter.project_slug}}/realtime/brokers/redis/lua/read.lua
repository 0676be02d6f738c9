-- Return the id of the last entry, and the first entries after an id of the same epoch, up to a
-- number of bytes: a longer answer would delay all other clients of Redis.
local stream, after, seconds, bytes = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local last = open(stream)
redis.call('EXPIRE', stream, seconds)
local entries = {}
if string.match(after, '^%d+') ~= string.match(last, '^%d+') then return {last, entries} end
repeat
    local some = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 10)
    for _, entry in ipairs(some) do
        table.insert(entries, entry)
        after, bytes = entry[1], bytes - #entry[2][2]
    end
until #some == 0 or bytes <= 0
return {last, entries}
