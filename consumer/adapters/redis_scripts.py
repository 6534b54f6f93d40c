"""What runs inside Redis: each script is atomic, and changes nothing where it refuses (docs/exactly_once.md).

KEYS are a partition's header and one generation's users and timers (`view`, which does not know the generation: the
names without it). The answer is {1, result}; {0, header, users, timers, parts} where the partition was not found as it
must be; {-1, the same} where it was, but had to be given up. A user is changed at most once in a call.
"""

FOUND, REFUSED, GIVEN_UP = 1, 0, -1

VIEW = """
local header = redis.call('GET', KEYS[1]) or ''
local generation, users, timers = string.match(header, '^%S+ %S+ (%S+) (%d+) (%d+) ')
local is_intact = generation
  and redis.call('HLEN', KEYS[2] .. generation) == tonumber(users)
  and redis.call('ZCARD', KEYS[3] .. generation) == tonumber(timers)
return {header, is_intact and 1 or 0}
"""

_PARTITION = """
local header = redis.call('GET', KEYS[1]) or ''
local users, timers, parts

local function count()
  users, timers = redis.call('HLEN', KEYS[2]), redis.call('ZCARD', KEYS[3])
  parts = KEYS[4] and redis.call('GET', KEYS[4]) or '0'
end

local function is_counted_by(expected)
  local says_users, says_timers = string.match(expected, '^%S+ %S+ %S+ (%d+) (%d+) ')
  return users == tonumber(says_users) and timers == tonumber(says_timers)
end

local function is_at(expected)
  return header == expected and is_counted_by(expected)
end

local function refusal()
  return {0, header, users, timers, parts}
end

local function give_up()
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
  return {-1, header, users, timers, parts}
end

count()
"""

# One command for many users: a command each would take twice as long. Lua's stack holds less than 8,000 values.
_APPLY = """
local function each(command, key, values)
  for first = 1, #values, 2000 do
    redis.call(command, key, unpack(values, first, math.min(first + 1999, #values)))
  end
end

local function apply(first)
  local changed, gone, timed, untimed = {}, {}, {}, {}
  for i = first, #ARGV, 3 do
    local user, value, due_ms = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if value == '' then
      gone[#gone + 1] = user
    else
      changed[#changed + 1] = user
      changed[#changed + 1] = value
    end
    if due_ms == '' then
      untimed[#untimed + 1] = user
    else
      timed[#timed + 1] = due_ms
      timed[#timed + 1] = user
    end
  end
  each('HSET', KEYS[2], changed)
  each('HDEL', KEYS[2], gone)
  each('ZADD', KEYS[3], timed)
  each('ZREM', KEYS[3], untimed)
  count()
end
"""

# how many headers, the headers, the users
LOAD = f"""{_PARTITION}
local is_found = false
for i = 2, tonumber(ARGV[1]) + 1 do is_found = is_found or is_at(ARGV[i]) end
if not is_found then return refusal() end
local values = {{}}
for first = tonumber(ARGV[1]) + 2, #ARGV, 1000 do
  local found = redis.call('HMGET', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
  for i = 1, #found do values[#values + 1] = found[i] end
end
return {{1, values}}
"""

# how many headers, the headers, until, limit
DUE = f"""{_PARTITION}
local is_found = false
for i = 2, tonumber(ARGV[1]) + 1 do is_found = is_found or is_at(ARGV[i]) end
if not is_found then return refusal() end
return {{1, redis.call('ZRANGE', KEYS[3], '-inf', ARGV[#ARGV - 1], 'BYSCORE', 'LIMIT', 0, ARGV[#ARGV])}}
"""

# before, after, users
STEP = f"""{_PARTITION}{_APPLY}
if not is_at(ARGV[1]) then return refusal() end
apply(3)
if not is_counted_by(ARGV[2]) then return give_up() end
redis.call('SET', KEYS[1], ARGV[2])
return {{1, ARGV[2]}}
"""

# before, what of the new header stands before the counts, what stands after them, what it must be ('': anything), users
CATCH_UP = f"""{_PARTITION}{_APPLY}
if not is_at(ARGV[1]) then return refusal() end
apply(5)
local reached = table.concat({{ARGV[2], users, timers, ARGV[3]}}, ' ')
if ARGV[4] ~= '' and ARGV[4] ~= reached then return give_up() end
redis.call('SET', KEYS[1], reached)
return {{1, reached}}
"""

# before
DISCARD = f"""{_PARTITION}
if header ~= ARGV[1] then return refusal() end
give_up()
return {{1, ''}}
"""

# KEYS[4]: how many parts were written. The generation, parts there must be, parts there will be, seconds to live, users
FILL = f"""{_PARTITION}{_APPLY}
local is_live = string.match(header, '^%S+ %S+ (%S+) ') == ARGV[1]
if is_live or parts ~= ARGV[2] then return refusal() end
apply(5)
redis.call('SET', KEYS[4], ARGV[3], 'EX', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return {{1, ''}}
"""

# KEYS[4]: as above; KEYS[5], KEYS[6]: users and timers of the old generation. The header as seen, parts, the new header
SWITCH = f"""{_PARTITION}
local is_overtaken = header ~= '' and header ~= ARGV[1]
if is_overtaken or parts ~= ARGV[2] or not is_counted_by(ARGV[3]) then return refusal() end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('PERSIST', KEYS[2])
redis.call('PERSIST', KEYS[3])
redis.call('DEL', KEYS[4])
if KEYS[5] and KEYS[5] ~= KEYS[2] then redis.call('UNLINK', KEYS[5], KEYS[6]) end
return {{1, ''}}
"""
