-- Sliding windows as they lie on the server, for `ledger.lua`, which has the names of the keys. A window `s` has its name,
-- kind and width (1: of a granule; 2: of the whole window, where it is a log) in microseconds.
--
-- By granules 61 whole ones count; a log counts to the microsecond. `last` is the newest granule, or time, and `sum` what
-- counts as of it; both are stored with the ledger, so that what is missing here is noticed.

local main = KEYS[1]

local function text(number)
  return string.format('%.0f', number)
end

-- How long the granules, or the log, are kept after the newest began, by the server's clock, which is `behind`.
local function keep_ms(kind, width, behind)
  return math.ceil(((kind == 1) and width * 63 or width) / 1000 + behind / 1000) + 60000
end

-- A cap that crosses the bound between log and granules: the same counts, otherwise laid down. `width`: of the new kind.
-- Returns the newest.
local function relaid(name, from, width, behind)
  local buckets, times = main .. ':g:' .. name, main .. ':t:' .. name
  local all = redis.call('HGETALL', buckets)
  local stamps, amounts, last = {}, {}, 0
  for i = 1, #all, 2 do
    local stamp
    if from == 2 then
      stamp = math.floor(tonumber(all[i]) / width)
    else
      stamp = (tonumber(all[i]) + 1) * width / 60 - 1
    end
    if not amounts[stamp] then
      stamps[#stamps + 1] = stamp
    end
    amounts[stamp] = (amounts[stamp] or 0) + tonumber(all[i + 1])
    last = math.max(last, stamp)
  end
  redis.call('DEL', buckets, times)
  table.sort(stamps)
  for _, stamp in ipairs(stamps) do
    redis.call('HSET', buckets, text(stamp), text(amounts[stamp]))
    if from == 1 then
      redis.call('RPUSH', times, text(stamp))
    end
  end
  redis.call('PEXPIRE', buckets, keep_ms(3 - from, width, behind))
  redis.call('PEXPIRE', times, keep_ms(3 - from, width, behind))
  return last
end

-- What counts at `at`, of one kept by granules; notes the present granule. nil: something is missing.
local function granules(s, last, sum, at)
  local buckets, width = main .. ':g:' .. s.name, s.width
  local g = math.max(math.floor(at / width), last)
  s.granule, s.left = g, math.max(0, (g + 1) * width - at)
  s.moved = s.moved or g > last
  if g > last and sum > 0 then
    if g - 61 >= last then
      redis.call('DEL', buckets)
      return 0
    elseif redis.call('EXISTS', buckets) == 0 then
      return nil
    end
    local old = {}
    for k = last - 60, g - 61 do
      old[#old + 1] = text(k)
    end
    for _, amount in ipairs(redis.call('HMGET', buckets, unpack(old))) do
      sum = sum - tonumber(amount or 0)
    end
    redis.call('HDEL', buckets, unpack(old))
  end
  return sum
end

-- The same of a log.
local function logged(s, last, sum, at)
  local buckets, times = main .. ':g:' .. s.name, main .. ':t:' .. s.name
  s.granule, s.left = math.max(at, last), 0
  if s.granule - s.width > last then
    if sum > 0 then
      redis.call('DEL', buckets, times)
    end
    return 0
  elseif sum > 0 and redis.call('EXISTS', buckets, times) < 2 then
    return nil
  end
  while sum > 0 do
    local oldest = redis.call('LINDEX', times, 0)
    if not oldest or tonumber(oldest) >= s.granule - s.width then
      break
    end
    redis.call('LPOP', times)
    sum = sum - tonumber(redis.call('HGET', buckets, oldest) or 0)
    redis.call('HDEL', buckets, oldest)
    s.moved = true
  end
  return sum
end

-- Microseconds until so much (`over`) will have left.
local function wait(s, over, at)
  local gone = 0
  local buckets = main .. ':g:' .. s.name
  if s.kind == 1 then
    local numbers = {}
    for g = s.granule - 60, s.granule do
      numbers[#numbers + 1] = text(g)
    end
    for n, counted in ipairs(redis.call('HMGET', buckets, unpack(numbers))) do
      gone = gone + tonumber(counted or 0)
      if gone >= over then
        return (s.granule + n) * s.width - at
      end
    end
  else
    for _, stamp in ipairs(redis.call('LRANGE', main .. ':t:' .. s.name, 0, math.min(over, 1000) - 1)) do
      gone = gone + tonumber(redis.call('HGET', buckets, stamp) or 0)
      if gone >= over then
        return tonumber(stamp) + s.width + 1 - at
      end
    end
  end
  return s.width
end

