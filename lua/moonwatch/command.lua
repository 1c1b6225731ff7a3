-- What a command line says: the program by any of its names, the files it writes, what a shell was
-- told to do, and who is behind it. Works on an event or a process; what is missing matches nothing.
--
-- A policy that uses it says `needs = command.needs`: what is read here is not in its own text.
local command = {}

command.needs = { "exe", "args", "comm", "uid", "euid", "loginuid", "sid" }

-- Who starts a process chooses its text, and may put anything before what it is about. So all of it is looked at, which
-- is as much as an event holds, by what takes a time that grows with the length and not with a power of it: find for
-- plain texts, patterns on command.flat, and command.after where two parts may lie far from each other.
local TEXT_MAX = 64 * 1024
local PATH_MAX = 4096
local byte, HYPHEN, PLUS = string.byte, 45, 43
-- A shell's text takes longer to read than to search.
local STEPS_MAX = 4000
local TAIL = 4000

local function set(list)
  local result = {}
  for _, value in ipairs(list) do
    result[value] = true
  end
  return result
end

local shells = set { "sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish", "rbash" }
local multicall = set { "busybox", "toybox" }
command.shells = shells

-- To begin with, these words are no command's name.
local keywords = set { "if", "then", "else", "elif", "do", "while", "until", "!", "{", "time" }

---The last component of a path; of a login shell's name without its hyphen.
---@param path string?
---@return string?
function command.base(path)
  if not path then
    return nil
  end
  path = path:sub(-PATH_MAX)
  local behind = path:reverse():find "[^/]"
  if not behind then
    return nil
  end
  path = path:sub(1, #path - behind + 1)
  return path:match "^.*/(.*)$" or path
end

-- "python3.11" -> "python", "php-fpm8.2" -> "php-fpm"
local function plain(name)
  if #name > 64 then
    return nil
  end
  local short = name:match "^(.-)[%-]?%d[%d%.]*$"
  return short ~= "" and short or nil
end

local function add_name(list, name)
  if name then
    list[#list + 1] = name
    list[#list + 1] = plain(name)
  end
end

-- Applet of busybox, argv[0], file, comm; each also without its version.
local function names_of(process)
  local args, list = process.args, {}
  local first = args and args[1] and command.base(args[1]:match "^%-?(.*)") or nil
  local file = command.base(process.exe)
  add_name(list, first and multicall[first] and command.base(args[2]))
  add_name(list, first)
  add_name(list, file ~= first and file)
  add_name(list, process.comm ~= first and process.comm)
  return list
end

-- What was found out about the last event, since all policies ask about the same one.
local last = {}

local function about(ev)
  if last.event ~= ev or last.args ~= ev.args or last.exe ~= ev.exe then
    last = { event = ev, args = ev.args, exe = ev.exe, names = names_of(ev) }
  end
  return last
end

---The first of a program's names (applet of busybox, argv[0], file, comm; versions left out) that is
---in the set; nil when none is.
---@param process moonwatch.Process
---@param wanted table<string, any>
---@return string? name
function command.is(process, wanted)
  local names = process.type and about(process).names or names_of(process)
  for i = 1, #names do
    if wanted[names[i]] then
      return names[i]
    end
  end
end

---The nearest ancestor that has a name of this set.
---@param ev moonwatch.Process
---@param wanted table<string, any>
---@return moonwatch.Process?
function command.below(ev, wanted)
  return ev:ancestor(function(process) return command.is(process, wanted) ~= nil end)
end

---Does the text contain one of these, as they are?
---@param text string?
---@param parts string[]
---@return string? part
function command.contains(text, parts)
  for _, part in ipairs(text and parts or {}) do
    if text:find(part, 1, true) then
      return part
    end
  end
end

---Does the text begin with one of these?
---@param text string?
---@param beginnings string[]
---@return string? beginning
function command.begins(text, beginnings)
  for _, beginning in ipairs(text and beginnings or {}) do
    if text:sub(1, #beginning) == beginning then
      return beginning
    end
  end
end

---The arguments joined by blanks, 64 KiB at most.
---@param process moonwatch.Process
---@return string?
function command.text(process)
  local args = process.args
  if not args then
    return nil
  elseif not process.type then
    return table.concat(args, " "):sub(1, TEXT_MAX)
  end
  local known = about(process)
  known.text = known.text or table.concat(args, " "):sub(1, TEXT_MAX)
  return known.text
end

local flat_of, flat_text -- the last one: a text is asked about by many

---The text with one blank in the place of blanks, tabs and newlines, for patterns: padding hides nothing
---and a pattern with ` *` takes no long time.
---@param text string?
---@return string?
function command.flat(text)
  if text and text ~= flat_of then
    flat_of, flat_text = text, text:sub(1, TEXT_MAX):gsub("%s+", " ")
  end
  return text and flat_text
end

---Does the text have a match of the pattern `first`, and behind it one of `second`? As `first.*second`,
---which would look for `second` anew behind each match of `first`.
---@param text string?
---@param first string
---@param second string
---@return boolean
function command.after(text, first, second)
  local _, stop = (text or ""):find(first)
  return stop ~= nil and text:find(second, stop + 1) ~= nil
end

local function find_told(args)
  for i = multicall[command.base(args[1]) or ""] and 3 or 2, #args do
    local word = args[i]
    local sign = byte(word)
    if sign ~= HYPHEN and sign ~= PLUS then
      return nil
    end
    if sign == HYPHEN and #word <= 64 and word:find "^%-%a*c%a*$" then
      return args[i + 1] and args[i + 1]:sub(1, TEXT_MAX)
    end
  end
end

---What a shell was told by -c; nil when this is no shell, or reads a file or its input.
---@param ev moonwatch.Process
---@return string?
function command.told(ev)
  local args = ev.args
  if not args or not command.is(ev, shells) then
    return nil
  elseif not ev.type then
    return find_told(args)
  end
  local known = about(ev)
  if known.told == nil then
    known.told = find_told(args) or false
  end
  return known.told or nil
end

-- --- a shell's text -----------------------------------------------------------------------------

---@class moonwatch.Command one simple command of a shell's text
---@field words string[] name and arguments, without quotes; nothing is expanded
---@field assigns string[] NAME=value before them
---@field writes string[] files of > and >>
---@field reads string[] files of <
---@field piped boolean? its input is the output of the one before

local function new_command(piped)
  return { words = {}, assigns = {}, writes = {}, reads = {}, piped = piped }
end

local Parser = {}
Parser.__index = Parser

-- Pieces, as a word of many escapes joined one by one takes a time that grows with the square of it.
function Parser:add(text)
  local pieces = self.pieces or {}
  pieces[#pieces + 1] = text
  self.pieces = pieces
end

-- The word until here, or nil.
function Parser:take_word()
  local pieces = self.pieces
  self.pieces = nil
  return pieces and (pieces[2] and table.concat(pieces) or pieces[1])
end

function Parser:end_word()
  local word, into, now = self:take_word(), self.into, self.now
  if not word then
    return -- blanks between > and its file
  end
  self.into = nil
  if into then
    if not word:find "^[%d%-]*$" then -- >&2 is no file
      now[into][#now[into] + 1] = word
    end
  elseif #now.words == 0 and word:find "^[%a_][%w_]*=" then
    now.assigns[#now.assigns + 1] = word
  elseif #now.words > 0 or not keywords[word] then
    now.words[#now.words + 1] = word
  end
end

function Parser:end_command(piped)
  self:end_word()
  self.into = nil
  local now = self.now
  if #now.words + #now.assigns + #now.writes + #now.reads > 0 then
    self.list[#self.list + 1] = now
  end
  self.now = new_command(piped)
end

-- The text between double quotes, from `at` on; and where it goes on behind them.
local function quoted(text, at)
  local from = at
  while true do
    local found = text:find('["\\]', at)
    if not found then
      return text:sub(from), #text + 1
    end
    if text:byte(found) == 34 then
      return (text:sub(from, found - 1):gsub('\\(["\\$`])', "%1")), found + 1
    end
    at = found + 2
  end
end

-- Each takes the parser and the place of its character, and returns where to go on.
local special = {}

function special:escape(text, at)
  if text:sub(at + 1, at + 1) ~= "\n" then
    self:add(text:sub(at + 1, at + 1))
  end
  return at + 2
end

function special:single(text, at)
  local close = text:find("'", at + 1, true) or #text + 1
  self:add(text:sub(at + 1, close - 1))
  return close + 1
end

function special:double(text, at)
  local inside, after = quoted(text, at + 1)
  self:add(inside)
  return after
end

function special:blank(text, at)
  self:end_word()
  return text:find("[^ \t]", at + 1) or #text + 1
end

function special:comment(text, at)
  if self.pieces then
    self:add "#"
    return at + 1
  end
  return text:find("\n", at, true) or #text + 1
end

function special:separator(text, at)
  if text:sub(at, at + 1) == "&>" then
    return at + 1
  end
  local pieces = self.pieces
  local piece = pieces and pieces[#pieces]
  if piece and piece:sub(-1) == "$" then -- $(
    pieces[#pieces] = piece:sub(1, -2)
    self.pieces = (#piece > 1 or pieces[2]) and pieces or nil
  end
  local behind = text:find("[^|&; \t\n]", at + 1) or #text + 1
  local signs = text:sub(at, behind - 1)
  local pipe = signs:find("|", 1, true) and not signs:find("||", 1, true)
  self:end_command(pipe or nil)
  return behind
end

function special:redirect(text, at)
  local word = self:take_word()
  if word and not word:find "^%d+$" then
    self:add(word)
    self:end_word()
  end
  local operator = text:match("^[<>][<>&|]*", at)
  self.into = operator:sub(1, 1) == ">" and "writes" or operator == "<" and "reads" or operator == "<>" and "writes"
    or "ignored"
  self.now.ignored = self.now.ignored or {}
  return at + #operator
end

local by_character = {
  ["\\"] = special.escape, ["'"] = special.single, ['"'] = special.double, ["#"] = special.comment,
  [" "] = special.blank, ["\t"] = special.blank, ["<"] = special.redirect, [">"] = special.redirect,
  [";"] = special.separator, ["|"] = special.separator, ["&"] = special.separator, ["\n"] = special.separator,
  ["("] = special.separator, [")"] = special.separator, ["`"] = special.separator,
}

---The simple commands of a shell's text. An approximation: quotes, pipes, redirections and
---substitutions are understood, variables stay as they are written. Of a text with more than STEPS_MAX
---words, quotes and signs the beginning and the end are read, and what is between is left out.
---@param text string
---@return moonwatch.Command[]
function command.parse(text)
  local parser = setmetatable({ list = {}, now = new_command() }, Parser)
  local at, len, steps = 1, #text, 0
  while at <= len do
    steps = steps + 1
    if steps == STEPS_MAX and len - at > TAIL then
      parser:end_command()
      at = len - TAIL
    end
    local act = by_character[text:sub(at, at)]
    if act then
      at = act(parser, text, at)
    else
      local stop = (text:find("[ \t\n\\'\"#;|&()<>`]", at) or len + 1) - 1
      parser:add(text:sub(at, stop))
      at = stop + 1
    end
  end
  parser:end_command()
  return parser.list
end

local function commands_of(ev)
  local known = about(ev)
  if not known.commands then
    local text = command.told(ev)
    known.commands = text and command.parse(text) or {}
  end
  return known.commands
end

local function copy_of(value)
  if type(value) ~= "table" then
    return value
  end
  local copy = {}
  for key, one in next, value do
    copy[key] = copy_of(one)
  end
  return copy
end

---The simple commands that a shell was told by -c; empty for everything else. Those that are programs
---come as execs of their own: look here for what is built into the shell, and for redirections. The
---caller's own: what is remembered is the next script's, too.
---@param ev moonwatch.Event
---@return moonwatch.Command[]
function command.commands(ev)
  return copy_of(commands_of(ev))
end

-- --- options and files ----------------------------------------------------------------------------

-- Does the word say this option?
local function says(word, wanted)
  return word == wanted or (wanted:sub(1, 2) == "--" and word:sub(1, #wanted + 1) == wanted .. "=")
    or (#wanted == 2 and word:find "^%-%a+$" and word:find(wanted:sub(2), 2, true) ~= nil)
end

---Is one of these among the arguments? "-x" also inside of "-axb", "--long" also as "--long=value".
---@param words string[]?
---@param ... string
---@return string? option
function command.flag(words, ...)
  local wanted, seen = { ... }, {}
  for i = 2, words and #words or 0 do
    local word = words[i]
    if byte(word) == HYPHEN and not seen[word] then
      seen[word] = true
      for n = 1, #wanted do
        if says(word, wanted[n]) then
          return wanted[n]
        end
      end
    end
  end
end

---The arguments that are no options. `valued`: letters of the options whose value is a word of its own.
---@param words string[]?
---@param valued string?
---@return string[]
function command.operands(words, valued)
  local result, count, skip, all = {}, 0, false, false
  for i = 2, words and #words or 0 do
    local word = words[i]
    if skip then
      skip = false
    elseif all or word == "-" or byte(word) ~= HYPHEN then
      count = count + 1
      result[count] = word
    elseif word == "--" then
      all = true
    else
      skip = valued ~= nil and #word == 2 and valued:find(word:sub(2), 1, true) ~= nil
    end
  end
  return result
end

local function destination(words, valued)
  local operands = command.operands(words, valued)
  return #operands > 1 and { operands[#operands] } or {}
end

local function edited_in_place(words)
  local does = false
  for i = 2, #words do
    does = does or words[i]:find "^%-[nEersuzpwla0]*i" or words[i]:find "^%-%-in%-place"
  end
  if not does then
    return {}
  end
  local operands = command.operands(words, "efE")
  if not command.flag(words, "-e", "-f") then
    table.remove(operands, 1) -- the program
  end
  return operands
end

local function output_of_dd(words)
  local result = {}
  for _, word in ipairs(words) do
    result[#result + 1] = word:match "^of=(.*)"
  end
  return result
end

local writers = {
  tee = command.operands, touch = command.operands,
  truncate = function(words) return command.operands(words, "sr") end,
  cp = destination, mv = destination, ln = destination,
  install = function(words) return destination(words, "mogtSZ") end,
  sed = edited_in_place, perl = edited_in_place,
  dd = output_of_dd,
}

local function writes_of(ev)
  local known = about(ev)
  if known.writes then
    return known.writes
  end
  local result = {}
  local function add(paths)
    for _, path in ipairs(paths) do
      if #path <= PATH_MAX then
        result[#result + 1] = path
      end
    end
  end
  local name = command.is(ev, writers)
  add(name and ev.args and writers[name](ev.args) or {})
  for _, one in ipairs(commands_of(ev)) do
    add(one.writes)
  end
  known.writes = result
  return result
end

---The files that a command writes, as far as its words say so: operands of tee, cp, mv, ln, install,
---sed -i, dd, truncate and touch, and what a shell's text redirects into.
---@param ev moonwatch.Event
---@return string[]
function command.writes(ev)
  return copy_of(writes_of(ev))
end

---The first file that is written for which fits(path).
---@param ev moonwatch.Event
---@param fits fun(path: string): any
---@return string? path
function command.writes_to(ev, fits)
  for _, path in ipairs(writes_of(ev)) do
    if fits(path) then
      return path
    end
  end
end

-- --- for people -----------------------------------------------------------------------------------

---@param text string
---@param most integer?
---@return string
function command.cut(text, most)
  most = most or 160
  return #text <= most and text or text:sub(1, most) .. "..."
end

local function user(ev)
  local id = ev.euid or ev.uid
  local login = ev.loginuid and ev.loginuid ~= id and (", login " .. ev.loginuid) or ""
  return ("user %s%s"):format(id or "?", login)
end

---"sshd > bash > make": the ancestors, nearest last.
---@param ev moonwatch.Process
---@return string
function command.above(ev)
  local chain = {}
  for process in ev:ancestors() do
    table.insert(chain, 1, process.comm or tostring(process.pid or "?"))
    if #chain == 5 then
      break
    end
  end
  return #chain > 0 and table.concat(chain, " > ") or "?"
end

---Who runs what under what, for an alert: "user 0, login 1000: 'nc -e /bin/sh ...' under sshd > bash".
---@param ev moonwatch.Process
---@return string
function command.who(ev)
  local what = command.text(ev) or ev.exe or ev.comm or tostring(ev.pid or "?")
  return ("%s: '%s' under %s"):format(user(ev), command.cut(what), command.above(ev))
end

return command
