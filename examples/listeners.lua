-- What does a new program listen on? Asked a moment after its start, while it lives.
local mw = require "moonwatch"

local function tell_listeners(pid)
  local process = mw.proc(pid)
  for _, socket in ipairs(process and process:sockets() or {}) do
    if socket.state == "listen" and socket.local_port then
      print(("%s (%d) listens on %s port %d"):format(process.comm, pid, socket.local_ip, socket.local_port))
    end
  end
end

return mw.script {
  name = "listeners",
  on = {
    exec = function(ev)
      mw.after(0.5, function() tell_listeners(ev.pid) end)
    end,
  },
}
