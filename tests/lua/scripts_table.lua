-- The table of scripts/README.md, from the heads of the scripts: `luajit tests/lua/scripts_table.lua` prints it,
-- tests/lua/scripts_spec.lua compares.
local heads = { "Why", "ATT&CK", "False positives", "Not seen", "Options" }

local scripts_table = {}

---The head comment of a script: { what = ..., Why = ..., ["ATT&CK"] = ..., ... }
---@param text string
function scripts_table.head(text)
  local head, at = {}, "what"
  for line in text:gmatch "([^\n]*)\n" do
    local words = line:match "^%-%- ?(.*)$"
    if not words then
      break
    end
    for _, name in ipairs(heads) do
      local rest = words:match("^" .. name:gsub("%p", "%%%0") .. ": (.*)$")
      if rest then
        at, words = name, rest
      end
    end
    words = words:match "^%s*(.-)%s*$"
    head[at] = head[at] and head[at] .. " " .. words or words
  end
  return head
end

function scripts_table.names()
  local names = {}
  local list = io.popen "ls scripts/*.lua"
  for path in list:lines() do
    names[#names + 1] = path:match "([^/]+)%.lua$"
  end
  list:close()
  return names
end

function scripts_table.read(name)
  local file = assert(io.open("scripts/" .. name .. ".lua"))
  local text = file:read "*a"
  file:close()
  return scripts_table.head(text), text
end

local function cell(text)
  return (text or ""):gsub("|", "\\|"):gsub("%.$", "")
end

function scripts_table.text()
  local lines = { "| script | what it tells of | ATT&CK | options | false positives |", "|---|---|---|---|---|" }
  for _, name in ipairs(scripts_table.names()) do
    local head = scripts_table.read(name)
    lines[#lines + 1] = ("| %s.lua | %s | %s | %s | %s |"):format(name, cell(head.what), cell(head["ATT&CK"]),
      cell(head.Options), cell(head["False positives"]))
  end
  return table.concat(lines, "\n") .. "\n"
end

if arg and arg[0] and arg[0]:find "scripts_table%.lua$" then
  io.write(scripts_table.text())
end

return scripts_table
