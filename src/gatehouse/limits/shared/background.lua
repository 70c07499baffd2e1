-- Which calls began responses in the background, of one project.
--
-- KEYS[1]   gatehouse:{tenant}:b:PROJECT   hash: response -> its call
-- ARGV[1]   msgpack {"keep", response, call, most, keep_s} or {"take", response}
-- Answer    of "take" the call, or nil.
-- What is beyond the newest `most` goes, and all of it when nothing came for `keep_s` seconds.

local m = cmsgpack.unpack(ARGV[1])
local calls, order = KEYS[1], KEYS[1] .. ':order'
local response = m[2]
if m[1] == 'take' then
  local call = redis.call('HGET', calls, response)
  if call then
    redis.call('HDEL', calls, response)
    redis.call('LREM', order, 1, response)
  end
  return call
end
redis.call('HSET', calls, response, m[3])
redis.call('RPUSH', order, response)
if redis.call('LLEN', order) > m[4] then
  redis.call('HDEL', calls, redis.call('LPOP', order))
end
redis.call('EXPIRE', calls, m[5])
redis.call('EXPIRE', order, m[5])
return nil
