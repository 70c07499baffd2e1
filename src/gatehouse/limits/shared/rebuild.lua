-- What the control plane does to one tenant's state (`ledger.lua` says how it lies there).
--
-- KEYS[1]  gatehouse:{tenant}
-- ARGV[1]  msgpack {"look", run}                         -> {"there" | "lost"}
--          msgpack {"fence", run, token, keep_ms}        -> {"there" | "busy" | "fenced"}; fenced: nothing is admitted
--          msgpack {"open", run, token, epoch, join_us, spends, lanes, rates} -> {"busy" | "open"}
--            spends {{name, reserved, settled}, ...}, all lanes together
--            lanes  {{lane, {{name, reserved, settled}, ...}}, ...} that still run or are not buried
--            rates  {{name, window_us, {time, amount, time, amount, ...}}, ...} in order of time: all that are limited
--          msgpack {"bury", lane, {{name, settled}, ...}} -> {"lost" | "buried"}
--
-- `token`: of two machines that want to rebuild, one may; one that was too slow finds the fence gone, and has no effect.
-- `join_us`: for so long after opening workers say what they hold, and nothing is admitted: until the time stored is
-- `opens`, or, where that stands still because the server's own was set back, its own is `ready`.

local main = KEYS[1]
local m = cmsgpack.unpack(ARGV[1])
local act = m[1]
local lanes, fence = main .. ':lanes', main .. ':fence'

local function text(number)
  return string.format('%.0f', number)
end

local function there(run)
  local found = redis.call('HMGET', main, 'epoch', 'run')
  return found[1] and found[2] == run
end

local function own(lane)
  return main .. ':w:' .. lane
end

if act == 'look' then
  return cmsgpack.pack({there(m[2]) and 'there' or 'lost'})
end

if act == 'fence' then
  if there(m[2]) then
    return cmsgpack.pack({'there'})
  end
  if not redis.call('SET', fence, m[3], 'NX', 'PX', text(m[4])) then
    if redis.call('GET', fence) ~= m[3] then
      return cmsgpack.pack({'busy'})
    end
    redis.call('PEXPIRE', fence, text(m[4]))
  end
  redis.call('HDEL', main, 'epoch')
  return cmsgpack.pack({'fenced'})
end

if act == 'open' then
  local run, token, epoch, join_us = m[2], m[3], m[4], m[5]
  if redis.call('GET', fence) ~= token then
    return cmsgpack.pack({'busy'})
  end
  local time = redis.call('TIME')
  local clock = time[1] * 1000000 + time[2]
  local at = math.max(clock, tonumber(redis.call('HGET', main, 'at') or 0))
  for _, field in ipairs(redis.call('HKEYS', main)) do
    local kind, name = string.sub(field, 1, 2), string.sub(field, 3)
    if kind == 'l|' then
      redis.call('DEL', own(name))
    elseif kind == 'g|' then
      redis.call('DEL', main .. ':g:' .. name, main .. ':t:' .. name)
    end
  end
  redis.call('DEL', main, lanes)
  for _, s in ipairs(m[6]) do
    redis.call('HSET', main, 'r|' .. s[1], text(s[2]), 's|' .. s[1], text(s[3]))
  end
  for _, l in ipairs(m[7]) do
    redis.call('DEL', own(l[1]))
    redis.call('HSET', own(l[1]), 'turn', '0', 'beat', text(at))
    redis.call('HSET', main, 'l|' .. l[1], '1')
    redis.call('ZADD', lanes, text(at), l[1])
    for _, s in ipairs(l[2]) do
      redis.call('HSET', own(l[1]), 'r|' .. s[1], text(s[2]), 'c|' .. s[1], text(s[3]))
    end
  end
  for _, rate in ipairs(m[8]) do
    local sum, last = 0, 0
    -- Of a state that was lost in part, they may lie there still, whatever counted them.
    redis.call('DEL', main .. ':g:' .. rate[1], main .. ':t:' .. rate[1])
    for k = 1, #rate[3], 2 do
      local stamp = text(rate[3][k])
      if redis.call('HINCRBY', main .. ':g:' .. rate[1], stamp, text(rate[3][k + 1])) == rate[3][k + 1] then
        redis.call('RPUSH', main .. ':t:' .. rate[1], stamp)
      end
      sum, last = sum + rate[3][k + 1], rate[3][k]
    end
    if sum > 0 then
      redis.call('PEXPIRE', main .. ':g:' .. rate[1], text(math.ceil(rate[2] / 1000) + 120000))
      redis.call('PEXPIRE', main .. ':t:' .. rate[1], text(math.ceil(rate[2] / 1000) + 120000))
      redis.call('HSET', main, 'k|' .. rate[1], '2', 'g|' .. rate[1], text(last), 'n|' .. rate[1], text(sum))
    end
  end
  redis.call('HSET', main, 'epoch', epoch, 'run', run, 'seq', '1', 'at', text(at))
  redis.call('HSET', main, 'opens', text(at + join_us), 'ready', text(clock + join_us))
  redis.call('DEL', fence)
  return cmsgpack.pack({'open'})
end

-- bury: that lane's journal is read to its end, so what it held is known by what it settled.
local lane, settled = m[2], m[3]
if not redis.call('HGET', main, 'epoch') then
  return cmsgpack.pack({'lost'})
end
local member = redis.call('HGET', main, 'l|' .. lane)
if not member or member == 'b' then
  -- Unknown: it ended before this state was built, which has all that it settled.
  return cmsgpack.pack({'buried'})
end
local counted = {}
local all = redis.call('HGETALL', own(lane))
if #all == 0 then
  -- Nobody knows what of it is counted already.
  redis.call('HDEL', main, 'epoch')
  return cmsgpack.pack({'lost'})
end
for i = 1, #all, 2 do
  local kind, name = string.sub(all[i], 1, 2), string.sub(all[i], 3)
  if (kind == 'h|' or kind == 'r|') and all[i + 1] ~= '0' then
    redis.call('HINCRBY', main, all[i], text(-tonumber(all[i + 1])))
  elseif kind == 'c|' then
    counted[name] = tonumber(all[i + 1])
  end
end
for _, s in ipairs(settled) do
  local more = s[2] - (counted[s[1]] or 0)
  if more ~= 0 then
    redis.call('HINCRBY', main, 's|' .. s[1], text(more))
  end
end
redis.call('DEL', own(lane))
redis.call('ZREM', lanes, lane)
redis.call('HSET', main, 'l|' .. lane, 'b')
redis.call('HINCRBY', main, 'seq', 1)
return cmsgpack.pack({'buried'})
