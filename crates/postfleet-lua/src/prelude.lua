-- What scripts see instead of the interpreter's own library. Runs once in every interpreter, before any script.
--
-- A call to the host is a yield with a token that scripts cannot have. It passes through coroutines of the script, so that
-- it may come from anywhere; the answer comes back the same way.
local token, spent, find, expand, length_of, operations, constants, packages = ...

local raw_pcall, raw_xpcall, error, select, type, unpack, setmetatable =
  pcall, xpcall, error, select, type, unpack, setmetatable
local raw_yield, raw_resume, raw_create, running, status =
  coroutine.yield, coroutine.resume, coroutine.create, coroutine.running, coroutine.status
local sub, byte, concat, insert = string.sub, string.byte, table.concat, table.insert
local tostring, tonumber, rawequal, rawget, pairs = tostring, tonumber, rawequal, rawget, pairs

-- An error of the host is blamed on the line that called.
local function finish(ok, ...)
  if ok then return ... end
  error((...), 2)
end

local function call(operation, ...)
  return finish(raw_yield(token, operation, ...))
end

-- The end of the instructions is not for scripts to catch.
local function after(ok, ...)
  if not ok and spent() then error((...), 0) end
  return ok, ...
end

local function relay(co, ok, first, ...)
  if ok and rawequal(first, token) then
    return relay(co, raw_resume(co, raw_yield(token, ...)))
  end
  return after(ok, first, ...)
end

local function resume(co, ...)
  return relay(co, raw_resume(co, ...))
end

local function unwrap(ok, ...)
  if ok then return ... end
  error((...), 0)
end

local G = {
  _VERSION = _VERSION, assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs,
  rawequal = rawequal, rawget = rawget, rawset = rawset, select = select, tonumber = tonumber, tostring = tostring,
  type = type, unpack = unpack, getmetatable = getmetatable, setmetatable = setmetatable,
  pcall = function(...) return after(raw_pcall(...)) end,
  xpcall = function(...) return after(raw_xpcall(...)) end,
  math = math, table = table, bit = bit,
  coroutine = {
    create = raw_create, resume = resume, running = running, status = status, yield = raw_yield,
    wrap = function(f)
      local co = raw_create(f)
      return function(...) return unwrap(resume(co, ...)) end
    end,
  },
  collectgarbage = function(what)
    if what == "count" then return collectgarbage("count") end
    return 0
  end,
}

-- Names of older versions that scripts still use.
table.getn = table.getn or function(t) return #t end
table.unpack = unpack
math.mod = math.mod or math.fmod

local function text(name, position, value)
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  if kind ~= "string" then
    error("bad argument #" .. position .. " to '" .. name .. "' (string expected, got "
      .. (value == nil and "no value" or kind) .. ")", 3)
  end
  return value
end

local function start_of(init, length)
  init = init or 1
  if init < 0 then init = length + init + 1 end
  if init < 1 then init = 1 end
  return init
end

-- The pattern functions stand on a search that can be interrupted.
local function found(ok, first, last, ...)
  if not ok then error(first, 2) end
  return first, last, ...
end

function string.find(s, pattern, init, plain)
  s, pattern = text("find", 1, s), text("find", 2, pattern)
  return found(find(s, pattern, start_of(tonumber(init), #s), true, plain and true or false))
end

local function captures(s, ok, first, last, ...)
  if not ok then error(first, 2) end
  if not first then return nil end
  if select("#", ...) == 0 then return sub(s, first, last) end
  return ...
end

function string.match(s, pattern, init)
  s, pattern = text("match", 1, s), text("match", 2, pattern)
  return captures(s, find(s, pattern, start_of(tonumber(init), #s), true, false))
end

function string.gmatch(s, pattern)
  s, pattern = text("gmatch", 1, s), text("gmatch", 2, pattern)
  local at = 1
  local function step(ok, first, last, ...)
    if not ok then error(first, 2) end
    if not first then
      at = #s + 2
      return nil
    end
    at = last < first and first + 1 or last + 1
    if select("#", ...) == 0 then return sub(s, first, last) end
    return ...
  end
  return function()
    if at > #s + 1 then return nil end
    return step(find(s, pattern, at, false, false))
  end
end
string.gfind = string.gmatch

function string.gsub(s, pattern, replacement, most)
  s, pattern = text("gsub", 1, s), text("gsub", 2, pattern)
  local kind = type(replacement)
  if kind == "number" then
    replacement, kind = tostring(replacement), "string"
  elseif kind ~= "string" and kind ~= "table" and kind ~= "function" then
    error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
  end
  most = tonumber(most) or #s + 1
  local anchored = byte(pattern) == 94
  local out, count, at = {}, 0, 1
  -- What a match becomes.
  local function value(first, last, ...)
    local whole = sub(s, first, last)
    if kind == "string" then
      local ok, made = expand(replacement, whole, ...)
      if not ok then error(made, 4) end
      return made
    end
    local key = select("#", ...) == 0 and whole or (...)
    local made
    if kind == "table" then
      made = replacement[key]
    elseif select("#", ...) == 0 then
      made = replacement(whole)
    else
      made = replacement(...)
    end
    if not made then return whole end
    if type(made) ~= "string" and type(made) ~= "number" then
      error("invalid replacement value (a " .. type(made) .. ")", 4)
    end
    return tostring(made)
  end
  local function step(ok, first, last, ...)
    if not ok then error(first, 3) end
    if not first then return false end
    count = count + 1
    insert(out, sub(s, at, first - 1))
    insert(out, value(first, last, ...))
    if last >= first then
      at = last + 1
    else
      insert(out, sub(s, first, first))
      at = first + 1
    end
    return not anchored and at <= #s + 1
  end
  while count < most and step(find(s, pattern, at, true, false)) do end
  insert(out, sub(s, at))
  return concat(out), count
end

local raw_rep = string.rep
function string.rep(s, n, ...)
  s = text("rep", 1, s)
  length_of(#s * (tonumber(n) or 0))
  return raw_rep(s, n, ...)
end
string.dump = nil
G.string = string
getmetatable("").__metatable = false

-- The functions of the host under their names, methods on the three objects.
local objects = { ac = {}, vctx = {}, msg = {} }
local methods = { ac = {}, vctx = {}, msg = {} }
local shown = { ac = "accept", vctx = "vctx", msg = "msg" }
for name, object in pairs(objects) do
  setmetatable(object, {
    __index = methods[name], __metatable = false,
    __newindex = function() error("'" .. shown[name] .. "' has no fields of its own; use a context", 2) end,
    __tostring = function() return shown[name] end,
  })
end

local function rows(ok, list, message)
  if not ok then error(list, 2) end
  if list == nil then return nil, message end
  local at = 0
  return function()
    at = at + 1
    return list[at]
  end
end

for name, operation in pairs(operations) do
  local object, method = name:match("^(%w+):([%w_]+)$")
  if object == "timer" then
    -- Below.
  elseif object then
    local self = objects[object]
    methods[object][method] = function(me, ...)
      if not rawequal(me, self) then
        error("call " .. shown[object] .. ":" .. method .. "(…) with a colon", 2)
      end
      return finish(raw_yield(token, operation, ...))
    end
  else
    local into = G
    for part in name:gmatch("([%w_]+)%.") do
      into[part] = into[part] or {}
      into = into[part]
    end
    local last = name:match("([%w_]+)$")
    if name == "msys.db.query" then
      into[last] = function(...) return rows(raw_yield(token, operation, ...)) end
    else
      into[last] = function(...) return finish(raw_yield(token, operation, ...)) end
    end
  end
end
for name, value in pairs(constants) do
  G.msys.core[name] = value
end

-- Timers: the host keeps the time, the object here keeps the function, for as long as something refers to it; one that is
-- to call once is kept until it has, or is stopped.
local NUMBER, CALL, NAME, ONCE = {}, {}, {}, {}
local timers, waiting, made = setmetatable({}, { __mode = "v" }), {}, 0
local timer = {}
local of_timers = {
  __index = timer, __metatable = false,
  __tostring = function(me) return "timer " .. (rawget(me, NAME) or rawget(me, NUMBER)) end,
}

local function number_of(me, method)
  local number = type(me) == "table" and rawget(me, NUMBER)
  if not number then error("call timer:" .. method .. "() with a colon", 3) end
  return number
end

function timer.start(me)
  local number = number_of(me, "start")
  waiting[number] = me[ONCE] and me
  return finish(raw_yield(token, operations["timer:start"], number))
end

function timer.stop(me)
  local number = number_of(me, "stop")
  waiting[number] = nil
  return finish(raw_yield(token, operations["timer:stop"], number))
end

function timer.name(me)
  number_of(me, "name")
  return me[NAME]
end

local function begun(me, ok, ...)
  if not ok then error((...), 2) end
  made = me[NUMBER]
  timers[made], waiting[made] = me, me[ONCE] and me
  return me
end

for _, kind in pairs({ "after", "at", "every" }) do
  local full = "msys.timer." .. kind
  local operation = operations[full]
  G.msys.timer[kind] = function(when, call, name)
    if type(call) ~= "function" then
      error("bad argument #2 to '" .. full .. "' (function expected, got "
        .. (call == nil and "no value" or type(call)) .. ")", 2)
    end
    local me = { [NUMBER] = made + 1, [CALL] = call, [NAME] = name and text(full, 3, name), [ONCE] = kind ~= "every" }
    return begun(setmetatable(me, of_timers), raw_yield(token, operation, when, made + 1, call))
  end
end

local function timer_of(number)
  local me = timers[number]
  waiting[number] = nil
  if me then return me[CALL], me[NAME] end
end

-- One for each script: modules of the operator are loaded into the script that requires them.
local function new_require()
  local loaded, busy = {}, {}
  return function(name)
    if type(name) ~= "string" then error("bad argument #1 to 'require' (string expected)", 2) end
    if packages[name] then
      local at = G
      for part in name:gmatch("[%w_]+") do at = type(at) == "table" and at[part] or nil end
      return at == nil and true or at
    end
    if loaded[name] ~= nil then return loaded[name] end
    if busy[name] then error("module '" .. name .. "' requires itself", 2) end
    local ok, chunk, problem = raw_yield(token, operations.require, name)
    if not ok then error(chunk, 2) end
    -- What does not compile has its own place.
    if not chunk then error(problem, 0) end
    busy[name] = true
    local made = chunk(name)
    busy[name] = nil
    if made == nil then made = true end
    loaded[name] = made
    return made
  end
end

return G, objects.ac, objects.vctx, objects.msg, new_require, timer_of
