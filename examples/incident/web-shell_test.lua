-- The incident has to be told of, an ordinary day has not.
local nginx = { comm = "nginx", exe = "/usr/sbin/nginx" }

return {
  {
    name = "the incident: what it fetched, what it started, how it meant to come back",
    recording = "incident.mwr",
    alerts = {
      { severity = "medium", text = "runs a shell" },
      { severity = "high", text = "fetches something" },
      { severity = "critical", text = "starts what was written" },
      { severity = "critical", text = "will come back" },
    },
  },
  {
    name = "an ordinary day",
    recording = "usual.mwr",
    alerts = 0,
  },
  {
    name = "a picture whose name is a command",
    events = {
      { comm = "sh", args = { "sh", "-c", "convert /var/www/upload/1.jpg;id -resize 9x9 /var/www/small/1.jpg" },
        parent = nginx },
    },
    alerts = 1,
  },
  {
    name = "somebody's own shell",
    events = { { comm = "bash", parent = { comm = "sshd" } } },
    alerts = 0,
  },
}
