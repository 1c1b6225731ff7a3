-- Lua source as a tree, for those who look at scripts without running them.
--
-- Takes what LuaJIT's own compiler accepts: whoever calls `parse` has tried that first, so nothing is
-- refused here. Each node has `tag`, `line` and `col` (both from 1). Names and strings are as in the
-- text; what a number is worth nobody asked yet.
local syntax = {}

local keywords = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true "
  .. "until while"):gmatch "%a+" do
  keywords[word] = true
end

-- --- tokens ----------------------------------------------------------------------------------------

local escapes = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v" }

-- What stands between the quotes, without its escapes.
local function unescape(text)
  local out, at = {}, 1
  while true do
    local back = text:find("\\", at, true)
    out[#out + 1] = text:sub(at, (back or 0) - 1)
    if not back then
      return table.concat(out)
    end
    local hex, digits = text:match("^x(%x%x)", back + 1), text:match("^%d%d?%d?", back + 1)
    local blank = text:match("^z%s*", back + 1)
    local char = text:sub(back + 1, back + 1)
    if hex or digits then
      char = string.char(tonumber(hex or digits, hex and 16 or 10) % 256)
    end
    out[#out + 1] = blank and "" or hex and char or digits and char or escapes[char] or char
    at = back + 1 + (hex and 3 or #(digits or blank or " "))
  end
end

-- The end of a quoted string that begins at `at`.
local function quoted_end(text, at)
  local quote, stop = text:sub(at, at), at + 1
  while stop <= #text and text:sub(stop, stop) ~= quote do
    stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
  end
  return stop
end

local symbols = { "...", "..", "==", "~=", "<=", ">=", "::" }

local function symbol_at(text, at)
  for _, symbol in ipairs(symbols) do
    if text:sub(at, at + #symbol - 1) == symbol then
      return symbol
    end
  end
  return text:sub(at, at)
end

-- kind, end and value of the token that begins at `at`; no kind: a comment.
local function token_at(text, at)
  local level = text:match("^%[(=*)%[", at)
  if level then
    local from = at + #level + 2
    local close, stop = text:find("]" .. level .. "]", from, true)
    return "string", stop or #text, text:sub(from, (close or #text) - 1)
  end
  local name = text:match("^[%a_\128-\255][%w_\128-\255]*", at)
  if name then
    return keywords[name] and "keyword" or "name", at + #name - 1, name
  end
  local char = text:sub(at, at)
  if char == '"' or char == "'" then
    local stop = quoted_end(text, at)
    return "string", stop, unescape(text:sub(at + 1, stop - 1))
  end
  if text:match("^%.?%d", at) then
    local _, stop = text:find("^0[xX][%x%.]*[pP]?[+-]?[%w]*", at)
    if not stop then
      _, stop = text:find("^[%d%.]+[eE]?[+-]?%w*", at)
      if not text:sub(at, stop):find "[eE]" then
        _, stop = text:find("^[%d%.]+%a*", at)
      end
    end
    return "number", stop, text:sub(at, stop)
  end
  local symbol = symbol_at(text, at)
  return "symbol", at + #symbol - 1, symbol
end

-- The end of a comment that begins at `at`; nil: there is none.
local function comment_end(text, at)
  if text:sub(at, at + 1) ~= "--" then
    return nil
  end
  local level = text:match("^%[(=*)%[", at + 2)
  if level then
    local _, stop = text:find("]" .. level .. "]", at + 4 + #level, true)
    return stop or #text
  end
  return (text:find("\n", at, true) or #text + 1) - 1
end

---All tokens of a text: { kind, value, line, col }, the last of kind "end".
---@param text string
---@return table[] tokens, table<integer, string> comments by line
function syntax.tokens(text)
  local tokens, comments, at, line, begun = {}, {}, 1, 1, 1
  if text:sub(1, 1) == "#" then
    at = text:find("\n", 1, true) or #text + 1
  end
  local function pass(from, to)
    for newline in text:sub(from, to):gmatch "()\n" do
      line, begun = line + 1, from + newline
    end
  end
  while true do
    local blank = text:find("%S", at) or #text + 1
    pass(at, blank - 1)
    at = blank
    if at > #text then
      break
    end
    local stop = comment_end(text, at)
    if stop then
      comments[line] = text:sub(at, stop)
    else
      local kind, value
      kind, stop, value = token_at(text, at)
      tokens[#tokens + 1] = { kind = kind, value = value, line = line, col = at - begun + 1 }
    end
    pass(at, stop)
    at = stop + 1
  end
  tokens[#tokens + 1] = { kind = "end", value = "", line = line, col = 1 }
  return tokens, comments
end

-- --- the tree --------------------------------------------------------------------------------------

local Parser = {}
Parser.__index = Parser

function Parser:peek()
  return self.tokens[self.at]
end

function Parser:next()
  local token = self.tokens[self.at]
  if token.kind ~= "end" then
    self.at = self.at + 1
  end
  return token
end

function Parser:is(value)
  local token = self.tokens[self.at]
  return token.value == value and (token.kind == "symbol" or token.kind == "keyword")
end

function Parser:accept(value)
  return self:is(value) and self:next()
end

local function node(tag, token, fields)
  fields = fields or {}
  fields.tag, fields.line, fields.col = tag, token.line, token.col
  return fields
end

function Parser:name()
  local token = self:next()
  return node("name", token, { name = token.value })
end

function Parser:expressions()
  local list = { self:expression(0) }
  while self:accept "," do
    list[#list + 1] = self:expression(0)
  end
  return list
end

-- After `function`; `method`: there is a self.
function Parser:body(token, method)
  local params = method and { node("name", token, { name = "self" }) } or {}
  self:accept "("
  while not self:accept ")" do
    if not self:accept "..." then
      params[#params + 1] = self:name()
    end
    self:accept ","
  end
  local body = self:block()
  local last = self:next() -- end
  return node("function", token, { params = params, body = body, method = method, last_line = last.line })
end

function Parser:table_constructor()
  local token, items = self:next(), {}
  while not self:accept "}" do
    if self:peek().kind == "end" then
      break
    end
    local item
    if self:is "[" then
      self:next()
      item = { key = self:expression(0) }
      self:accept "]"
      self:accept "="
      item.value = self:expression(0)
    elseif self:peek().kind == "name" and self.tokens[self.at + 1].value == "="
      and self.tokens[self.at + 1].kind == "symbol" then
      local key = self:next()
      self:next()
      item = { key = node("string", key, { value = key.value }), value = self:expression(0) }
    else
      item = { value = self:expression(0) }
    end
    items[#items + 1] = item
    if not self:accept "," then
      self:accept ";"
    end
  end
  return node("table", token, { items = items })
end

function Parser:arguments()
  local token = self:peek()
  if token.kind == "string" then
    return { node("string", self:next(), { value = token.value }) }
  end
  if self:is "{" then
    return { self:table_constructor() }
  end
  self:accept "("
  local list = self:is ")" and {} or self:expressions()
  self:accept ")"
  return list
end

function Parser:suffixed()
  local token = self:peek()
  local left
  if self:accept "(" then
    left = node("paren", token, { inner = self:expression(0) })
    self:accept ")"
  else
    left = self:name()
  end
  while true do
    token = self:peek()
    if self:accept "." then
      local key = self:next()
      left = node("index", key, { object = left, key = node("string", key, { value = key.value }), dotted = true })
    elseif self:accept "[" then
      left = node("index", self:peek(), { object = left, key = self:expression(0) })
      self:accept "]"
    elseif self:accept ":" then
      local key = self:next()
      left = node("method", key, { object = left, name = key.value, args = self:arguments() })
    elseif self:is "(" or self:is "{" or token.kind == "string" then
      left = node("call", token, { callee = left, args = self:arguments() })
    else
      return left
    end
  end
end

function Parser:simple()
  local token = self:peek()
  if token.kind == "string" then
    return node("string", self:next(), { value = token.value })
  elseif token.kind == "number" then
    return node("number", self:next(), { value = token.value })
  elseif self:is "nil" or self:is "true" or self:is "false" or self:is "..." then
    return node("constant", self:next(), { value = token.value })
  elseif self:is "{" then
    return self:table_constructor()
  elseif self:accept "function" then
    return self:body(token)
  end
  return self:suffixed()
end

local priority = {
  ["or"] = { 1, 1 }, ["and"] = { 2, 2 }, ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 }, [">="] = { 3, 3 },
  ["~="] = { 3, 3 }, ["=="] = { 3, 3 }, [".."] = { 5, 4 }, ["+"] = { 6, 6 }, ["-"] = { 6, 6 }, ["*"] = { 7, 7 },
  ["/"] = { 7, 7 }, ["%"] = { 7, 7 }, ["^"] = { 10, 9 },
}
local UNARY = 8

function Parser:expression(limit)
  local token = self:peek()
  local left
  if self:is "not" or self:is "-" or self:is "#" then
    self:next()
    left = node("unary", token, { op = token.value, inner = self:expression(UNARY) })
  else
    left = self:simple()
  end
  while true do
    token = self:peek()
    local op = (token.kind == "symbol" or token.kind == "keyword") and priority[token.value]
    if not op or op[1] <= limit then
      return left
    end
    self:next()
    left = node("binary", token, { op = token.value, left = left, right = self:expression(op[2]) })
  end
end

-- --- statements ------------------------------------------------------------------------------------

local statements = {}

statements["if"] = function(self, token)
  local arms = {}
  repeat
    local test = self:expression(0)
    self:accept "then"
    arms[#arms + 1] = { test = test, block = self:block() }
  until not self:accept "elseif"
  if self:accept "else" then
    arms[#arms + 1] = { block = self:block() }
  end
  self:accept "end"
  return node("if", token, { arms = arms })
end

statements["while"] = function(self, token)
  local test = self:expression(0)
  self:accept "do"
  local block = self:block()
  self:accept "end"
  return node("while", token, { test = test, block = block })
end

statements["do"] = function(self, token)
  local block = self:block()
  self:accept "end"
  return node("do", token, { block = block })
end

statements["repeat"] = function(self, token)
  local block = self:block()
  self:accept "until"
  return node("repeat", token, { block = block, test = self:expression(0) })
end

statements["for"] = function(self, token)
  local names = { self:name() }
  while self:accept "," do
    names[#names + 1] = self:name()
  end
  local numeric = self:accept "="
  if not numeric then
    self:accept "in"
  end
  local list = self:expressions()
  self:accept "do"
  local block = self:block()
  self:accept "end"
  return node("for", token, { names = names, list = list, block = block, numeric = numeric and true })
end

statements["function"] = function(self, token)
  local target, method = self:name(), false
  while self:is "." or self:is ":" do
    method = self:next().value == ":"
    local key = self:next()
    target = node("index", key, { object = target, key = node("string", key, { value = key.value }), dotted = true })
  end
  return node("assign", token, { targets = { target }, list = { self:body(token, method) } })
end

statements["local"] = function(self, token)
  if self:accept "function" then
    local name = self:name()
    return node("local", token, { names = { name }, list = { self:body(token) }, recursive = true })
  end
  local names = { self:name() }
  while self:accept "," do
    names[#names + 1] = self:name()
  end
  return node("local", token, { names = names, list = self:accept "=" and self:expressions() or {} })
end

statements["return"] = function(self, token)
  local ends = self:peek().kind == "end" or self:is "end" or self:is "else" or self:is "elseif" or self:is "until"
    or self:is ";"
  local list = ends and {} or self:expressions()
  self:accept ";"
  return node("return", token, { list = list })
end

statements["break"] = function(_, token)
  return node("break", token)
end

statements["goto"] = function(self, token)
  self:next()
  return node("goto", token)
end

statements["::"] = function(self, token)
  self:next()
  self:next()
  return node("label", token)
end

statements[";"] = function()
  return nil
end

function Parser:simple_statement()
  local token = self:peek()
  local first = self:suffixed()
  if not self:is "=" and not self:is "," then
    return node("do_call", token, { call = first })
  end
  local targets = { first }
  while self:accept "," do
    targets[#targets + 1] = self:suffixed()
  end
  self:accept "="
  return node("assign", token, { targets = targets, list = self:expressions() })
end

function Parser:block()
  local block = {}
  while true do
    local token = self:peek()
    if token.kind == "end" or self:is "end" or self:is "else" or self:is "elseif" or self:is "until" then
      return block
    end
    local known = (token.kind == "keyword" or token.kind == "symbol") and statements[token.value]
    local before = self.at
    local statement
    if known then
      self:next()
      statement = known(self, token)
    else
      statement = self:simple_statement()
    end
    block[#block + 1] = statement
    if self.at == before then
      error "the parser stands still" -- what the compiler accepts does not come here
    end
  end
end

---The tree of a chunk: a list of statements.
---@param text string what the compiler accepts
---@return table[] block, table<integer, string> comments by line
function syntax.parse(text)
  local tokens, comments = syntax.tokens(text)
  return setmetatable({ tokens = tokens, at = 1 }, Parser):block(), comments
end

return syntax
