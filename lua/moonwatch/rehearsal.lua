-- Made-up events for the test of a script: what a test leaves out is filled in.
--
-- rehearsal(test) -> records, problem. A test is { name, events, alerts, output, errors, options }, with `commands` and
-- `status`, or a `recording`, instead of events; a record is what src/host/rehearsal.c makes an event of; those of
-- commands and recordings it has from elsewhere. Each process is a table in the test: `parent` is told of first, as one
-- that was running before, and the same table twice is the same process.
local mw = require "moonwatch"
local expect = require "moonwatch.expect"
local meant = require "moonwatch.meant"

local BEGIN = 1700000000 -- s since the epoch; 1 s between events unless `at` says when, from here on

local BEGIN_MONO = 1000 -- the same, s since boot

local fields = mw._core._fields
local own = { at = true, parent = true, was = true, type = true }

local kinds = mw.set {
  "fork", "exec", "exit", "uid", "gid", "sid", "ptrace", "comm", "coredump", "snapshot", "lost", "reload", "storm",
}

local of_test = mw.set { "name", "events", "commands", "recording", "alerts", "output", "errors", "status", "options" }

local Filler = {}
Filler.__index = Filler

local function fail(format, ...)
  error({ text = format:format(...) }, 0)
end

local function is_count(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 and value < 2 ^ 53
end

-- 'nine', a table
local function shown(value)
  local kind = type(value)
  return (kind == "string" and "'%s'" or kind == "table" and "a table" or "%s"):format(tostring(value))
end

local function is_list(value)
  local n = 0
  for _ in pairs(type(value) == "table" and value or {}) do
    n = n + 1
  end
  return type(value) == "table" and n == #value
end

local function check_output(output)
  local fits = type(output) == "string" or is_list(output)
  for _, text in ipairs(type(output) == "table" and output or {}) do
    fits = fits and type(text) == "string"
  end
  if not fits then
    fail("`output` is a text or a list of texts, not %s", shown(output))
  end
end

local function check_command(command)
  if not is_list(command) or #command == 0 then
    fail("`commands` holds %s, but a command is a list of words: { \"sh\", \"-c\", \"exit 3\" }", shown(command))
  end
  for _, word in ipairs(command) do
    if type(word) ~= "string" or word:find "%z" then
      fail("a command is a list of words, texts without a NUL, and one is %s", shown(word))
    end
  end
end

local function check_commands(test)
  local commands, status = test.commands, test.status
  if not is_list(commands) or #commands == 0 then
    fail("`commands` is a list of commands, not %s", shown(commands))
  end
  for _, command in ipairs(commands) do
    check_command(command)
  end
  local is_right = status == nil or is_count(status) or is_list(status) and #status == #commands
  for _, one in ipairs(type(status) == "table" and is_right and status or {}) do
    is_right = is_right and is_count(one)
  end
  if not is_right then
    fail "`status` is what the commands end with: a number for all of them, or a list of one for each"
  end
end

local function check_source(test)
  local sources = (test.events and 1 or 0) + (test.commands and 1 or 0) + (test.recording and 1 or 0)
  if sources > 1 then
    fail "a test has `events`, `commands` or a `recording`: one of them"
  elseif test.commands ~= nil then
    check_commands(test)
  elseif test.status ~= nil then
    fail "`status` is what commands end with, and this test has none"
  elseif test.recording ~= nil then
    if type(test.recording) ~= "string" or test.recording == "" or test.recording:find "%z" then
      fail("`recording` is the name of a file beside the test, not %s", shown(test.recording))
    end
  elseif not is_list(test.events) then
    fail "a test has `events`, a list of tables; or `commands`, or a `recording`"
  end
end

local function check_test(test)
  for key in pairs(test) do
    if not of_test[key] then
      fail("a test has no '%s'%s", tostring(key), meant(key, "", of_test))
    end
  end
  if type(test.name) ~= "string" then
    fail "a test is a table with a `name`, a string"
  end
  check_source(test)
  if test.options ~= nil and type(test.options) ~= "table" then
    fail("`options` is a table of names and values, not %s", shown(test.options))
  elseif test.alerts == nil and test.output == nil and test.errors == nil and test.status == nil then
    fail "it checks nothing: say how many `alerts`, or which, or which `output`"
  elseif type(test.alerts) == "table" and expect.problem(test.alerts) then
    fail("%s", expect.problem(test.alerts))
  end
  for _, key in ipairs { "alerts", "errors" } do
    local is_expected = key == "alerts" and type(test.alerts) == "table"
    if test[key] ~= nil and not is_expected and not is_count(test[key]) then
      fail("`%s` is a whole number, how many there are to be, not %s", key, shown(test[key]))
    end
  end
  if test.output ~= nil then
    check_output(test.output)
  end
end

local function check(event)
  if type(event) ~= "table" then
    fail("`events` holds a %s, but events are tables", type(event))
  end
  for key in pairs(event) do
    if not own[key] and not fields[key] then
      fail("events have no field '%s'%s", tostring(key), meant(key, "", fields, own))
    end
  end
  if event.pid ~= nil and not is_count(event.pid) then
    fail("`pid` is a whole number, not %s", shown(event.pid))
  elseif event.parent ~= nil and type(event.parent) ~= "table" then
    fail("`parent` is a table, the process that forked this one, not %s", shown(event.parent))
  end
  if event.type and not kinds[event.type] then
    fail("there is no event '%s'%s", tostring(event.type), meant(event.type, "", kinds))
  end
end

local function when(at)
  local ok, seconds = pcall(mw.seconds, at)
  if not ok then
    fail("`at` is a number of seconds or a span such as '5m', not '%s'", tostring(at))
  end
  return BEGIN + seconds
end

local function name_of(event)
  local path = event.exe or (type(event.args) == "table" and event.args[1]) or "program"
  return tostring(path):match "([^/]*)$":sub(1, 15)
end

local function default(record, key, value)
  if record[key] == nil then
    record[key] = value
  end
end

-- What all events of a process have.
function Filler:describe(record, event)
  local pid = record.pid or self.pids[event]
  if not pid then
    pid = self.next_pid
    self.next_pid = pid + 1
  end
  self.pids[event] = pid
  record.pid = pid
  default(record, "tid", pid)
  default(record, "ppid", event.parent and self.pids[event.parent] or 1)
  default(record, "uid", 1000)
  default(record, "gid", 1000)
  default(record, "euid", record.uid)
  default(record, "egid", record.gid)
  if not self.starts[pid] then -- a parent comes before its child, whatever their pids
    self.starts[pid] = self.next_start
    self.next_start = self.next_start + 10
  end
  default(record, "starttime", self.starts[pid])
  default(record, "start", record.time)
  default(record, "comm", name_of(event))
  default(record, "exe", "/usr/bin/" .. record.comm)
  default(record, "args", { record.comm })
  default(record, "execs", 1)
end

function Filler:add(event, kind, time)
  local record = {}
  for key, value in pairs(event) do
    record[key] = value
  end
  record.type, record.time, record.mono = kind, time, time - BEGIN + BEGIN_MONO
  record.at, record.parent = nil, nil
  if kind ~= "lost" and kind ~= "reload" and kind ~= "storm" then
    self:describe(record, event)
  end
  if kind == "exit" then
    default(record, "code", not record.signal and 0 or nil)
    default(record, "duration", 0.001)
  end
  self.records[#self.records + 1] = record
end

function Filler:parents(event, time, depth)
  local parent = event.parent
  if parent == nil or self.pids[parent] then
    return
  end
  if depth > 64 then
    fail "a process is its own ancestor"
  end
  check(parent)
  self:parents(parent, time, depth + 1)
  self:add(parent, "snapshot", time)
end

local function fill(test)
  check_test(test)
  local filler = setmetatable({ records = {}, pids = {}, starts = {}, next_pid = 1000, next_start = 10000 }, Filler)
  local time = BEGIN
  if test.events then
    filler.records.mono, filler.records.time = BEGIN_MONO, BEGIN
  end
  for _, event in ipairs(test.events or {}) do
    check(event)
    time = event.at and when(event.at) or time + 1
    filler:parents(event, time, 0)
    filler:add(event, event.type or "exec", time)
  end
  return filler.records
end

---@param test table
---@return table[]? records, string? problem
return function(test)
  local ok, records = pcall(fill, test)
  if ok then
    return records
  end
  return nil, type(records) == "table" and records.text or tostring(records)
end
