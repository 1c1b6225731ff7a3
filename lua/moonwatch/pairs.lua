-- `pairs` as scripts have it: who walks an event looks at all of it, so that all is read from then on.
local core = debug.getregistry().moonwatch
local getmetatable = debug.getmetatable -- an event's own is out of reach
local plain, rawget, type = pairs, rawget, type

return function(t)
  local meta = getmetatable(t)
  if type(meta) == "table" and rawget(meta, "unasked") then
    core._need_all()
  end
  return plain(t)
end
