-- One batch of one worker for one tenant: what it holds, what it gives back, the calls it asks to admit, what it would
-- like to hold for further ones. All limits of a call together or not at all; the whole batch is one step of the server.
-- How rates lie there, and what of them has left their window, is in `windows.lua`, which stands before this.
--
-- KEYS[1]   gatehouse:{tenant}: a hash of everything but the granules of rates, so that it is lost whole or not at all:
--             epoch, run, opens, ready, seq, at   the state itself: see `rebuild.lua`
--             heard         nobody is taken for dead before: nobody at all had been heard of for so long
--             l|LANE        1: a worker known here; 0: removed, its heartbeat had stopped; b: buried, its journal is read
--             g|NAME n|NAME a rate: the last granule (of a log: the last time) and the sum over its window
--             k|NAME        1: it lies there by granules; 2: as a log
--             h|NAME        what is held by running calls (concurrency)
--             r|NAME s|NAME spend: reserved and settled
-- KEYS[1]:w:LANE   hash: what of that is this worker's: turn, beat; h|NAME, r|NAME held, c|NAME settled since its start
-- KEYS[1]:lanes    sorted set: lane by its last heartbeat
-- KEYS[1]:g:NAME   hash: granule (of a log: time) -> amount;  KEYS[1]:t:NAME  list: the times of a log, in order
--
-- ARGV[1]   msgpack, in this order:
--   lane, turn, epoch, seq, run, dead_us, leaving,
--   counters {{name, kind, a, b, cap, held, settled, want}, ...}   kind 1 rate by granules of a µs; 2 log over a µs;
--                                                                  3 held; 4 spend, valid from a till b µs; cap -1: none
--   refunds  {{counter, granule, amount}, ...}                 granule 0: the present one
--   calls    {{counter, amount, counter, amount, ...}, ...}
-- What a worker holds and has settled it says in absolute numbers: said twice it counts once, and a lost answer is
-- mended by the next batch. Refunds of rates are differences (below 0: more was used), sent once at most: a lost one
-- counts as used.
--
-- Answer    msgpack {status, epoch, seq, at, removed, results, states}
--   status  "ok"; "joining": what is held was taken down, nothing admitted yet; "lost"; "stale": a later batch was here;
--           "buried": somebody took this lane for ended
--   results per call what is in its way: {} admitted; counters that are full; {-i}: its period is not the present one
--   states  per counter {used, settled, granted, granule, left_us, wait_us, before}: wait_us until what a refused call
--           needs has left the window; before: what thresholds go by, as it was (used; of spend settled)

local m = cmsgpack.unpack(ARGV[1])
local lane, turn, known_epoch, known_seq, run, dead_us, leaving = m[1], m[2], m[3], m[4], m[5], m[6], m[7]
local counters, refunds, calls = m[8], m[9], m[10]
local mine = main .. ':w:' .. lane
local lanes = main .. ':lanes'
local EXACT = 9007199254740992
local BEAT_US = 500000
local KEEP_MS = 604800000

local function say(status, epoch, seq, at, removed, results, states)
  return cmsgpack.pack({status, epoch or '', seq or 0, at or 0, removed or 0, results or {}, states or {}})
end

-- Reading, in two commands.
local fields = {'epoch', 'run', 'opens', 'seq', 'at', 'l|' .. lane, 'ready', 'heard'}
local own = {'turn', 'beat'}
for i, c in ipairs(counters) do
  local name, kind = c[1], c[2]
  if kind <= 2 then
    fields[#fields + 1] = 'g|' .. name
    fields[#fields + 1] = 'n|' .. name
    fields[#fields + 1] = 'k|' .. name
  elseif kind == 3 then
    fields[#fields + 1] = 'h|' .. name
    own[#own + 1] = 'h|' .. name
  else
    fields[#fields + 1] = 'r|' .. name
    fields[#fields + 1] = 's|' .. name
    own[#own + 1] = 'r|' .. name
    own[#own + 1] = 'c|' .. name
  end
end
local read = redis.call('HMGET', main, unpack(fields))
local epoch, seq = read[1], tonumber(read[4] or 0)
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local at = math.max(clock, tonumber(read[5] or 0))
local behind = at - clock
if not epoch then
  return say('lost')
end

local function lose()
  redis.call('HDEL', main, 'epoch')
  return say('lost')
end

-- Another server than the one this state was built on: a replica that took over, or a restart.
if read[2] ~= run or (known_epoch == epoch and known_seq > seq) then
  return lose()
end
local read_own = redis.call('HMGET', mine, unpack(own))
local member = read[6]
if member == 'b' then
  return say('buried')
elseif member and not read_own[1] then
  return lose()
elseif not member then
  -- Unknown to this state: what still lies there is of one that was lost.
  redis.call('DEL', mine)
  read_own = {}
end
if tonumber(read_own[1] or 0) >= turn then
  return say('stale', epoch, seq, at)
end

-- Heartbeats: one's own, and those that have stopped. Where all have, it was the server, or its clock: they get time.
local removed = 0
local main_set, mine_set = {}, {'turn', text(turn)}

local function bury_slots(dead)
  local key = main .. ':w:' .. dead
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'h|' and all[i + 1] ~= '0' then
      redis.call('HINCRBY', main, all[i], text(-tonumber(all[i + 1])))
      redis.call('HDEL', key, all[i])
    end
  end
  redis.call('HSET', main, 'l|' .. dead, '0')
  redis.call('ZREM', lanes, dead)
end

if member ~= '1' then
  removed = (member == '0') and 1 or 0
  redis.call('HSET', main, 'l|' .. lane, '1')
  redis.call('ZADD', lanes, text(at), lane)
  mine_set[3], mine_set[4] = 'beat', text(at)
elseif at - tonumber(read_own[2] or 0) >= BEAT_US then
  if not redis.call('ZSCORE', lanes, lane) then
    return lose()
  end
  redis.call('ZADD', lanes, text(at), lane)
  redis.call('PEXPIRE', mine, KEEP_MS)
  mine_set[3], mine_set[4] = 'beat', text(at)
  local dead = {}
  if at >= tonumber(read[8] or 0) and at - tonumber(read[5]) < dead_us then
    dead = redis.call('ZRANGEBYSCORE', lanes, '-inf', text(at - dead_us), 'LIMIT', 0, 8)
  end
  for _, d in ipairs(dead) do
    bury_slots(d)
  end
  if #dead > 0 then
    read = redis.call('HMGET', main, unpack(fields))
  end
end

-- What each counter stands at, with what this worker says it holds.
local states = {}
local f, o = 9, 3
for i, c in ipairs(counters) do
  local name, kind = c[1], c[2]
  local s = {name = name, kind = kind, width = c[3], cap = c[5], wait = 0, refused = 0, most = 1, used = 0, settled = 0, added = 0, granted = 0, full = false}
  states[i] = s
  if kind <= 2 then
    local last, sum = tonumber(read[f] or 0), tonumber(read[f + 1] or 0)
    local lies = tonumber(read[f + 2] or kind)
    f = f + 3
    if lies ~= kind then
      last = relaid(name, lies, c[3], behind)
      s.moved = true
    end
    sum = (kind == 1) and granules(s, last, sum, at) or (kind == 2) and logged(s, last, sum, at)
    if not sum then
      return lose()
    end
    s.used, s.before = math.max(sum, 0), sum
  elseif kind == 3 then
    local held = tonumber(read[f] or 0)
    f = f + 1
    s.mine = (removed == 1) and 0 or c[6]
    s.was = (removed == 1) and 0 or tonumber(read_own[o] or 0)
    o = o + 1
    s.before = held
    s.used = held + s.mine - s.was
  else
    local reserved, settled = tonumber(read[f] or 0), tonumber(read[f + 1] or 0)
    f = f + 2
    s.mine, s.was = c[6], tonumber(read_own[o] or 0)
    s.spent, s.counted = c[7], tonumber(read_own[o + 1] or 0)
    o = o + 2
    s.settling = s.spent - s.counted
    s.used, s.settled = reserved + s.mine - s.was, settled + s.settling
    s.present = at >= c[3] and (at < c[4] or c[4] < 0)
  end
end

for _, r in ipairs(refunds) do
  local s = states[r[1]]
  local buckets = main .. ':g:' .. s.name
  local granule = (r[2] == 0) and s.granule or r[2]
  local stamp = text(granule)
  local there = tonumber(redis.call('HGET', buckets, stamp) or 0)
  local back = math.min(there, r[3])
  if r[3] < 0 and s.kind == 1 and s.granule - 61 < granule then
    redis.call('HINCRBY', buckets, stamp, text(-r[3]))
    s.used = s.used - r[3]
    s.moved = true
  elseif back > 0 then
    redis.call('HINCRBY', buckets, stamp, text(-back))
    s.used = s.used - back
    s.moved = true
  end
end

-- Room above: doubles are exact up to 2^53 (9 million dollars); beyond, some nano-dollars are kept clear.
local function room(s)
  if s.cap < 0 then
    return math.huge
  end
  local cap = s.cap
  if cap > EXACT then
    cap = cap - 4096
  end
  return cap - s.used - s.settled
end

local joining = at < tonumber(read[3] or 0) and clock < tonumber(read[7] or 0)
local results = {}
for n, call in ipairs(calls) do
  local short = {}
  for k = 1, #call, 2 do
    local s = states[call[k]]
    if s.kind == 4 and not s.present then
      short = {-call[k]}
      break
    elseif joining or call[k + 1] > room(s) then
      short[#short + 1] = call[k]
      s.full = true
      if s.kind <= 2 and call[k + 1] > s.refused then
        s.refused = call[k + 1]
        s.wait = math.max(s.wait, wait(s, call[k + 1] - room(s), at))
      end
    end
  end
  if #short == 0 then
    for k = 1, #call, 2 do
      local s = states[call[k]]
      s.used = s.used + call[k + 1]
      s.added = s.added + call[k + 1]
      s.most = math.max(s.most, call[k + 1])
    end
  end
  results[n] = short
end

-- Leases, where 50 more of the largest call would fit.
if not joining then
  for i, c in ipairs(counters) do
    local s = states[i]
    local left = room(s)
    if c[8] > 0 and s.kind ~= 2 and not s.full and left >= 50 * s.most and (s.kind ~= 4 or s.present) then
      s.granted = math.min(c[8], math.floor(left / 8))
      s.used = s.used + s.granted
      s.added = s.added + s.granted
    end
  end
end

-- Writing.
local function note(key, set, field, number)
  if number == 0 then
    redis.call('HDEL', key, field)
  else
    set[#set + 1] = field
    set[#set + 1] = text(number)
  end
end
local answer = {}
for i, c in ipairs(counters) do
  local s = states[i]
  local name = s.name
  if s.kind <= 2 then
    if s.added > 0 then
      local buckets = main .. ':g:' .. name
      local stamp = text(s.granule)
      local total = redis.call('HINCRBY', buckets, stamp, text(s.added))
      if total == s.added then
        local keep = keep_ms(s.kind, c[3], behind)
        redis.call('PEXPIRE', buckets, keep)
        if s.kind == 2 then
          redis.call('RPUSH', main .. ':t:' .. name, stamp)
          redis.call('PEXPIRE', main .. ':t:' .. name, keep)
        end
      end
    end
    if s.added > 0 or s.moved then
      local k = #main_set
      main_set[k + 1], main_set[k + 2] = 'g|' .. name, text(s.granule)
      main_set[k + 3], main_set[k + 4] = 'n|' .. name, text(s.used)
      main_set[k + 5], main_set[k + 6] = 'k|' .. name, text(s.kind)
    end
    answer[i] = {s.used, 0, s.granted, s.granule, s.left, s.wait, s.before}
  elseif s.kind == 3 then
    if s.used ~= s.before then
      note(main, main_set, 'h|' .. name, s.used)
    end
    if s.mine + s.added ~= s.was or removed == 1 then
      note(mine, mine_set, 'h|' .. name, s.mine + s.added)
    end
    answer[i] = {s.used, 0, s.granted, 0, 0, 0, s.before}
  else
    local now_mine = s.mine + s.added
    if now_mine ~= s.was then
      redis.call('HINCRBY', main, 'r|' .. name, text(now_mine - s.was))
      local k = #mine_set
      mine_set[k + 1], mine_set[k + 2] = 'r|' .. name, text(now_mine)
    end
    if s.settling ~= 0 then
      redis.call('HINCRBY', main, 's|' .. name, text(s.settling))
      local k = #mine_set
      mine_set[k + 1], mine_set[k + 2] = 'c|' .. name, text(s.spent)
    end
    answer[i] = {s.used, s.settled, s.granted, 0, 0, 0, s.settled - s.settling}
  end
end
seq = seq + 1
local k = #main_set
main_set[k + 1], main_set[k + 2] = 'seq', text(seq)
main_set[k + 3], main_set[k + 4] = 'at', text(at)
if at - tonumber(read[5]) >= dead_us then
  main_set[k + 5], main_set[k + 6] = 'heard', text(at + dead_us)
end
redis.call('HSET', main, unpack(main_set))
if leaving == 1 then
  redis.call('HSET', mine, unpack(mine_set))
  bury_slots(lane)
else
  redis.call('HSET', mine, unpack(mine_set))
end
return say(joining and 'joining' or 'ok', epoch, seq, at, removed, results, answer)
