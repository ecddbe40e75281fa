#!lua
-- Counts one request in all windows of an organization, or in none. By the first line Redis refuses it before it has written
-- anything where its memory is full, and takes it from version 7 on.
--
-- KEYS: what is known of the organization, and the log of its requests: each by its number, and scored by its moment.
-- ARGV: three limits, three spans in microseconds, and the clock in microseconds; empty where Redis' own counts.
--
-- Answers with the moment, how far it is ahead of the clock, and whether the request was admitted; and for each window with what it
-- held before it, when the oldest of that was admitted, and, where that is more than the limit, when the one was admitted that must
-- have left before there is room for another.
local known, log = KEYS[1], KEYS[2]
-- More than one a call, so that it becomes less; and not all at once, which would keep everybody else waiting.
local FORGOTTEN_AT_ONCE = 1000

-- Redis and Lua would write large numbers in a form that loses their last digits.
local function whole(number)
    return string.format('%.0f', number)
end

local clock = tonumber(ARGV[7])
if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000000 + time[2]
end

local state = redis.call('HMGET', known, 'admitted', 'shown', 'ahead')
local admitted, shown, ahead = tonumber(state[1]), tonumber(state[2]), tonumber(state[3])
if not admitted then
    -- Of a log that has lost the count of its requests the next number is not known.
    redis.call('DEL', log)
    admitted, shown, ahead = 0, clock, 0
end
-- Time goes on from where it was when the clock is set back.
ahead = ahead + math.max(shown - clock, 0)
local now = clock + ahead

local gone = redis.call('ZCOUNT', log, '-inf', whole(now - ARGV[6]))
if gone > 0 then
    redis.call('ZREMRANGEBYRANK', log, 0, math.min(gone, FORGOTTEN_AT_ONCE) - 1)
end

local taken, windows = 1, {}
for i = 1, 3 do
    local limit, first = tonumber(ARGV[i]), '(' .. whole(now - ARGV[i + 3])
    local used = redis.call('ZCOUNT', log, first, '+inf')
    local oldest = redis.call('ZRANGEBYSCORE', log, first, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    local blocking = {}
    if limit > 0 and used > limit then
        blocking = redis.call('ZRANGE', log, -limit, -limit, 'WITHSCORES')
    end
    windows[i] = { used, tonumber(oldest[2]) or false, tonumber(blocking[2]) or false }
    if used >= limit then
        taken = 0
    end
end

if taken == 1 then
    redis.call('ZADD', log, whole(now), whole(admitted))
    admitted = admitted + 1
end
redis.call('HSET', known, 'admitted', whole(admitted), 'shown', whole(clock), 'ahead', whole(ahead))
-- After a day without a request nothing is in any window: a minute more, so that Redis never forgets too early.
local kept = whole(ARGV[6] / 1000 + 60000)
redis.call('PEXPIRE', known, kept)
redis.call('PEXPIRE', log, kept)

local answer = { now, ahead, taken }
for _, window in ipairs(windows) do
    for i = 1, 3 do
        answer[#answer + 1] = window[i]
    end
end
return answer
