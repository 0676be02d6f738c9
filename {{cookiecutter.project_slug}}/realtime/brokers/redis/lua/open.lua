-- Return the id of the last entry, and create a stream that does not exist. An id is two numbers:
-- the epoch, which is the time in ms at which the stream was created, and the sequence number, which
-- Redis increments.
local function open(stream)
    if redis.call('EXISTS', stream) == 0 then
        local now = redis.call('TIME')
        local epoch = now[1] * 1000 + math.floor(now[2] / 1000)
        redis.call('XADD', stream, string.format('%.0f-0', epoch), 'm', '')
        redis.call('XTRIM', stream, 'MAXLEN', 0)
    end
    local info = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then return info[i + 1] end
    end
end
