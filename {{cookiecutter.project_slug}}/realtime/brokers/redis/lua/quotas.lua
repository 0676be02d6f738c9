-- Store the connections that a process has open for some users, with those that it requests as far
-- as the limit allows. Return whether the process was unknown, and for each user how many of the
-- requested connections are granted. The counts of a process are valid until it expires.
local processes, process = KEYS[1], ARGV[1]
local expiry, limit, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', processes, '-inf', now)
local unknown = redis.call('ZADD', processes, now + expiry, process)
redis.call('PEXPIRE', processes, math.ceil(1000 * (expiry + 1)))
local granted = {}
for i = 2, #KEYS do
    local opened, wanted = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local others, counts = 0, redis.call('HGETALL', KEYS[i])
    for j = 1, #counts, 2 do
        if counts[j] ~= process then
            if redis.call('ZSCORE', processes, counts[j]) then
                others = others + counts[j + 1]
            else
                redis.call('HDEL', KEYS[i], counts[j])
            end
        end
    end
    local may = math.max(0, math.min(wanted, limit - others - opened))
    granted[i - 1] = may
    if opened + may > 0 then
        redis.call('HSET', KEYS[i], process, opened + may)
        redis.call('EXPIRE', KEYS[i], kept)
    else
        redis.call('HDEL', KEYS[i], process)
    end
end
return {unknown, granted}
