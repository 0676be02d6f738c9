-- Return the id of the last entry of each stream, and extend their expiry.
local ends = {}
for i, stream in ipairs(KEYS) do
    ends[i] = open(stream)
    redis.call('EXPIRE', stream, ARGV[1])
end
return ends
