-- Note that a process lives, how many sockets of some users it has, and how many are to come; return
-- whether the process was unknown, and how many of those may come, by user. What a process has said
-- is kept under its name for each user, and counts while it lives.
local processes, process = KEYS[1], ARGV[1]
local expiry, most, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', processes, '-inf', now)
local unknown = redis.call('ZADD', processes, now + expiry, process)
redis.call('EXPIRE', processes, expiry + 1)
local free = {}
for i = 2, #KEYS do
    local has, wants = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
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
    local may = math.max(0, math.min(wants, most - others - has))
    free[i - 1] = may
    if has + may > 0 then
        redis.call('HSET', KEYS[i], process, has + may)
        redis.call('EXPIRE', KEYS[i], kept)
    else
        redis.call('HDEL', KEYS[i], process)
    end
end
return {unknown, free}
