-- Keep present members for `seconds` and leaving ones for `grace`, and return all members: a sorted
-- set of "<process> <name>", by the time at which they expire.
local key = KEYS[1]
local seconds, grace, present = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for i = 4, #ARGV do
    if i < 4 + present then
        redis.call('ZADD', key, now + seconds, ARGV[i])
    else
        redis.call('ZADD', key, 'XX', now + grace, ARGV[i])
    end
end
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
redis.call('PEXPIRE', key, math.ceil(1000 * (seconds + 1)))
return redis.call('ZRANGE', key, 0, -1)
