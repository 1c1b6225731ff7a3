-- The environment of a script: what it sees of Lua and of this library, and its `require`.
--
-- In the profile `policy` nothing in it is shared with another script but functions: each gets
-- tables of its own. What is not listed here does not exist for it. Our modules keep one rule: an
-- object that they hand out has its methods in a table that is not its metatable
-- (`{ __index = methods }`), because `object.__index` would be the way to change everybody's.
local core = debug.getregistry().moonwatch
local trusted = core._profile == "trusted"
local mw = require "moonwatch"
local rawmeta = debug.getmetatable

local seen_by_scripts = {
  [""] = "assert error ipairs next pairs pcall print rawequal rawget rawset select tonumber tostring type unpack "
    .. "_VERSION",
  table = "concat foreach foreachi getn insert maxn move pack remove sort unpack",
  string = "byte char find format gmatch gsub len lower match rep reverse sub upper",
  math = "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi "
    .. "pow rad random sin sinh sqrt tan tanh",
  bit = "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
  coroutine = "create isyieldable resume running status wrap yield",
  os = "clock date difftime time",
}

local TEXT_MAX = 64 * 1024 -- of load: the parser cannot be interrupted, and takes seconds for an `elseif` of 1 MiB

local function pick(from, names, to)
  for name in names:gmatch "%S+" do
    to[name] = from[name]
  end
  return to
end

-- What is seen is a copy of these.
local libraries = { os = pick(os, seen_by_scripts.os, {}) }
for _, name in ipairs { "table", "string", "math", "bit", "coroutine" } do
  libraries[name] = pick(_G[name], seen_by_scripts[name], {})
end
local base = pick(_G, seen_by_scripts[""], {})
base.getmetatable, base.setmetatable = core._getmetatable, core._setmetatable

local os_time, os_date = os.time, os.date

if not trusted then
  os, package.loaded.os = nil, nil -- luacheck: ignore
end

-- Of now they tell what mw.now() tells: so a replay of the same events tells the same.
function libraries.os.time(parts)
  return parts == nil and math.floor(mw.now()) or os_time(parts)
end

function libraries.os.date(format, time)
  return os_date(format, time or math.floor(mw.now()))
end

-- The generator of random numbers belongs to all, and is seeded: a script that wants to is not refused.
function libraries.math.randomseed() end

-- The handler runs when the stack is unwound already: a time limit cannot interrupt it otherwise.
local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  return false, select(2, pcall(handler, ...))
end

function base.xpcall(f, handler, ...)
  return handled(handler, pcall(f, ...))
end

-- The pieces of a reader function, joined.
local function joined(reader)
  local pieces, size = {}, 0
  for piece in reader do
    if type(piece) ~= "string" then
      error("reader function must return a string", 3)
    end
    if piece == "" then
      break
    end
    pieces[#pieces + 1] = piece
    size = size + #piece
    if size > TEXT_MAX then
      break
    end
  end
  return table.concat(pieces)
end

-- Text becomes a function in `env`, or nil and a message; bytecode never does.
local function compile(text, name, env)
  if #text > TEXT_MAX then
    return nil, "load takes no more than " .. TEXT_MAX .. " bytes of text"
  end
  return load(text, name, "t", env)
end

local function add_loaders(env)
  function env.load(text, name, mode, into)
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then
      return nil, "attempt to load chunk with wrong mode"
    end
    text = type(text) == "function" and joined(text) or text
    if type(text) ~= "string" then
      error("load takes a text or a function that gives its pieces", 2)
    end
    return compile(text, name or "=(load)", into == nil and env or into)
  end
  function env.loadstring(text, name)
    if type(text) ~= "string" then
      error("loadstring takes a text", 2)
    end
    return compile(text, name or text, env)
  end
end

-- Tables of the library, as a script's own: without what begins with an underscore.
local function copied(value, copies)
  if type(value) ~= "table" then
    return value
  end
  if copies[value] then
    return copies[value]
  end
  local copy = {}
  copies[value] = copy
  for key, one in next, value do
    if type(key) ~= "string" or key:sub(1, 1) ~= "_" then
      copy[key] = copied(one, copies)
    end
  end
  return setmetatable(copy, rawmeta(value))
end

local withheld = { ffi = true, jit = true, io = true, debug = true, package = true, ["string.buffer"] = true }

local function not_found(name, why)
  if withheld[name] then
    error(("module '%s' not found; only scripts that the operator trusts have it (--trusted)"):format(name), 2)
  end
  error(("module '%s' not found: scripts can require 'moonwatch' and what lies beside them, 'lib.util' being "
    .. "lib/util.lua%s"):format(name, why and " (" .. why .. ")" or ""), 2)
end

-- "lib.util": no part is empty, and none can mean another directory.
local function is_module_name(name)
  return #name <= 200 and not name:find "[^%w_.-]" and not ("." .. name .. "."):find("..", 1, true)
end

-- A module that lies beside the script: an instance of its own, in its own environment. nil: there is none.
local function own_module(env, directory, name)
  local path = name:gsub("%.", "/") .. ".lua"
  local chunk_name = "@" .. directory .. path
  local text, why = core._read(path, chunk_name)
  if not text then
    return nil, why
  end
  local chunk, message = load(text, chunk_name, "t", env)
  if not chunk then
    error(("module '%s': %s"):format(name, message), 0)
  end
  return chunk
end

local loading = {} -- stands for a module that is not done yet

local function new_require(env, directory, loaded, otherwise)
  return function(name)
    if type(name) ~= "string" then
      error("require takes the name of a module", 2)
    end
    if loaded[name] == loading then
      error(("module '%s' requires itself"):format(name), 2)
    elseif loaded[name] ~= nil then
      return loaded[name]
    end
    local chunk, why
    if is_module_name(name) then
      chunk, why = own_module(env, directory, name)
    end
    if not chunk then
      return otherwise(name, why)
    end
    loaded[name] = loading
    local ok, result = pcall(chunk, name)
    if not ok then
      loaded[name] = nil
      error(result, 0)
    end
    loaded[name] = result == nil and true or result
    return loaded[name]
  end
end

-- "@/etc/moonwatch/x.lua" -> "/etc/moonwatch/"
local function directory_of(chunk)
  return chunk:match "^@(.*/)" or ""
end

local function policy_env(chunk)
  local env = {}
  for key, value in next, base do
    env[key] = value
  end
  for name, library in next, libraries do
    env[name] = copied(library, {})
  end
  env._G = env
  add_loaders(env)

  local own = copied(mw, {})
  local loaded = { moonwatch = own }
  for name in next, libraries do
    loaded[name] = env[name]
  end
  for name, part in next, own do
    loaded["moonwatch." .. name] = part
  end
  env.require = new_require(env, directory_of(chunk), loaded, not_found)
  return env
end

-- What Lua itself and this library bring is theirs by name; then comes what lies beside the script.
local theirs = {}
if trusted then
  for name in next, package.loaded do
    theirs[name] = true
  end
  for name in next, package.preload do
    theirs[name] = true
  end
end

local function trusted_env(chunk)
  local env = setmetatable({}, { __index = _G })
  local beside = new_require(env, directory_of(chunk), {}, require)
  function env.require(name)
    return theirs[name] and require(name) or beside(name)
  end
  return env
end

return trusted and trusted_env or policy_env
