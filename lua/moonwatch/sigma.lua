-- mw.sigma: rules of Sigma as a handler. They are asked in C; what comes here is only what one of them fits.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local core = mw._core
local setmetatable, type, error, pcall = setmetatable, type, error, pcall
local pairs, ipairs, tostring = pairs, ipairs, tostring
local concat = table.concat

local PATIENCE = 30 -- seconds, when they cannot be had for another reason than that there are none

local ranks = { informational = 1, low = 2, medium = 3, high = 4, critical = 5 }
local severities = { informational = "low", low = "low", medium = "medium", high = "high", critical = "critical" }
local REFUSED, SKIPPED = 0, 1 -- of a remark

local Sigma = {}
local meta = { __index = Sigma, __metatable = "mw.sigma" }

-- Shown of a long list; the rest is counted.
local TOLD = 20

-- Say what is wrong with rules, and what they are about that is not ours.
local function tell_remarks(self, remarks)
  local told, skipped = 0, 0
  self.refused = 0
  for _, remark in ipairs(remarks) do
    if remark.kind == SKIPPED then
      skipped = skipped + 1
    else
      self.refused = self.refused + (remark.kind == REFUSED and 1 or 0)
      told = told + 1
      if told <= TOLD then
        core.log(("%s:%d:%d: %s%s"):format(remark.path, remark.line, remark.column, remark.text,
          remark.title ~= "" and (" (%s)"):format(remark.title) or ""))
      end
    end
  end
  self.skipped = skipped
  if told > TOLD then
    core.log(("%s%d more remarks about rules"):format(self._label, told - TOLD))
  end
end

local function count_rules(self)
  local n = 0
  while core._sigma_rule(self._set, n) do
    n = n + 1
  end
  self.count = n
end

local function take(self, remarks)
  self._rules = {}
  self.loaded, self.problem = core.now(), nil
  tell_remarks(self, remarks)
  count_rules(self)
end

-- Read them if they look different; returns whether there are other ones.
local function refresh(self)
  local news, remarks = core._sigma_look(self._set, self._placeholders)
  if news then
    take(self, remarks)
    core.log(("%s%d rules, read again"):format(self._label, self.count))
    return true
  end
  local reason = news == nil and remarks or nil
  if reason and self.problem ~= reason then
    core.log(("%sthe rules stay as they were: %s"):format(self._label, reason))
  end
  self.problem = reason
  self._not_before = reason and core.now() + PATIENCE or 0
  return false
end

local function rule_of(self, number)
  local rule = self._rules[number]
  if not rule then
    rule = core._sigma_rule(self._set, number)
    self._rules[number] = rule
  end
  return rule
end

-- "selection: CommandLine|contains 'nc -e'", one after another.
local function text_of(reasons)
  local parts, selection = {}, nil
  for i, reason in ipairs(reasons) do
    if i > 4 then
      parts[#parts + 1] = "..."
      break
    end
    local value = reason.value ~= "" and reason.value or reason.found
    parts[#parts + 1] = ("%s%s '%s'"):format(reason.selection ~= selection and reason.selection .. ": " or "",
      reason.item, #value > 80 and value:sub(1, 80) .. "..." or value)
    selection = reason.selection
  end
  return concat(parts, ", ")
end

-- On which part of the events it could not say.
local function blindness(asked, undecided)
  return undecided > 0 and (" [blind on %.1f %% of execs]"):format(100 * undecided / asked) or ""
end

local function alert(self, ev, rule, number)
  local reasons = core._sigma_reasons(self._set, number)
  local asked, _, undecided = core._sigma_counts(self._set, number)
  mw.alert {
    severity = severities[rule.level],
    text = ("%s%s: %s%s"):format(rule.title, rule.author ~= "" and ", by " .. rule.author or "", text_of(reasons),
      blindness(asked, undecided)),
    event = ev,
    key = self._dedup and rule.id or nil,
    dedup = self._dedup,
    tags = rule.tags,
    rule = {
      id = rule.id,
      title = rule.title,
      author = rule.author,
      details = { level = rule.level, status = rule.status, matched = reasons, asked = asked, undecided = undecided },
    },
  }
end

-- A guard that fails hides nothing: it is told, and so is its error.
local function told_off(self, ev, rule)
  if not self._guard then
    return false
  end
  local ok, keep = pcall(self._guard, ev, rule)
  if not ok then
    self._error = self._error or keep
  end
  return ok and not keep
end

local function tell_all(self, ev, fired)
  for _, number in ipairs(fired) do
    local rule = rule_of(self, number)
    if ranks[rule.level] >= self._least and not (ev and told_off(self, ev, rule)) then
      alert(self, ev, rule, number)
    end
  end
  local problem = self._error
  self._error = nil
  if problem then
    error(problem, 0)
  end
end

local function check_placeholders(placeholders)
  for name, values in pairs(placeholders or {}) do
    local fits = type(name) == "string" and type(values) == "table" and #values > 0
    for _, value in ipairs(fits and values or {}) do
      fits = fits and type(value) == "string"
    end
    if not fits then
      error("mw.sigma: `placeholders` is a table of lists of strings: { Administrators = { \"root\" } }", 3)
    end
  end
end

---@param path string
---@param given table?
function Sigma.new(path, given)
  if type(path) ~= "string" or path == "" then
    error('mw.sigma takes a file or a directory below that of the script: mw.sigma("rules")', 2)
  end
  local o = options("mw.sigma", given == nil and {} or given, {
    guard = { "function" },
    dedup = { "span", optional = true },
    every = { "span", 2 },
    level = { "text", "informational" },
    placeholders = { "table", optional = true },
  })
  if not ranks[o.level] then
    error("mw.sigma: `level` is informational, low, medium, high or critical", 2)
  end
  check_placeholders(o.placeholders)
  local set, remarks = core._sigma_new(path, o.placeholders)
  if not set then
    error(("mw.sigma: '%s': %s"):format(path, tostring(remarks)), 2)
  end
  local self = setmetatable({
    path = path,
    where = set,
    _label = path == "." and "" or path .. ": ",
    _set = set,
    _guard = o.guard,
    _dedup = o.dedup,
    _least = ranks[o.level],
    _placeholders = o.placeholders,
    _not_before = 0,
  }, meta)
  self.handler = function(ev)
    tell_all(self, ev, core._sigma_fired(set))
  end
  take(self, remarks)
  if self.count == 0 then
    core.log(("%sthere is no rule that could be used"):format(self._label))
  end
  core.every(o.every < 0.05 and 0.05 or o.every, function()
    local time = core.now()
    if time >= self._not_before or time < self._not_before - 2 * PATIENCE then
      refresh(self)
    end
    tell_all(self, nil, core._sigma_pass(set, time))
  end)
  return self
end

---What is known of each rule: id, title, author, level, status, tags, path, line, and the events that it was asked
---about, that it fitted, and of which it could not say.
function Sigma:rules()
  local rules = {}
  for number = 0, self.count - 1 do
    local rule = {}
    for key, value in pairs(rule_of(self, number)) do
      rule[key] = value
    end
    rule.asked, rule.fired, rule.undecided = core._sigma_counts(self._set, number)
    rules[number + 1] = rule
  end
  return rules
end

return Sigma
