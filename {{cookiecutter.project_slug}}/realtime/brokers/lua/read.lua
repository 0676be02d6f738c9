-- Return the id of the last entry, and of the entries after an id of the same epoch the first ones,
-- until they are so many bytes: a long answer would hold up everybody else who asks.
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
