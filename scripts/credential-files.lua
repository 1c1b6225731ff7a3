-- A command that reads, copies, packs or looks for password hashes, private keys, tokens or another process's memory.
-- Why: what is taken here opens the next hosts.
-- ATT&CK: T1003.008, T1552.001, T1552.004, T1552.005, T1003.007
-- False positives: backups and configuration management (`ignore`); an administrator who looks. ssh, ssh-keygen and the
--   like use keys, they are no readers. /etc/passwd is not told of: everything reads it.
-- Not seen: a program that opens the files itself, without naming them on its command line.
-- Options: ignore = names of programs above it whose doings are left out; files = more texts in paths that are secret
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "rpm", "rsnapshot", "borg", "restic", "bacula-fd", "puppet",
  "chef-client", "salt-minion", "ansible", "pwck", "grpck", "vipw", "cloud-init", "passwd.cron", "run-parts" }))
local greps = mw.set { "grep", "egrep", "fgrep", "zgrep", "rg" }
local more = mw.option("files", {})

local readers = mw.set { "cat", "less", "more", "head", "tail", "tac", "nl", "grep", "egrep", "fgrep", "zgrep", "rg",
  "awk",
  "gawk", "mawk", "sed", "cut", "sort", "strings", "xxd", "od", "hexdump", "base64", "cp", "mv", "dd", "tar", "zip",
    "gzip", "7z",
  "rsync", "scp", "sftp", "curl", "wget", "nc", "vi", "vim", "nano", "ed", "emacs", "tee", "openssl", "gpg",
    "python", "perl",
  "ruby", "find", "locate", "xargs", "gcore", "gdb", "busybox", "sqlite3", "kubectl", "ln", "ccencrypt", "diff",
    "paste" }
local tools = { "mimipenguin", "laZagne", "lazagne", "truffleHog", "trufflehog", "unshadow", "/LinPEAS", "linpeas",
  "pypykatz",
  "dump_heap" }
-- severity, technique, and texts in the command line
local secrets = {
  { "high", "attack.t1003.008", { "/etc/shadow", "/etc/gshadow", "/etc/master.passwd", "/etc/security/opasswd",
    "/krb5.keytab" } },
  { "high", "attack.t1003.007", { "/proc/kcore" } },
  { "high", "attack.t1552.004", { "id_rsa", "id_ed25519", "id_ecdsa", "id_dsa", "/etc/ssh/ssh_host_", ".gnupg",
    "/etc/ssl/private" } },
  { "high", "attack.t1552.001", { ".aws/credentials", "//.aws", ".azure", "gcloud/cred", "//.config/gcloud",
    "//.oci", ".oci/sessions",
    ".docker/config.json", ".kube/config", ".git-credentials", ".netrc", ".pgpass", ".my.cnf", "serviceaccount/token",
    "msal_token_cache", "logins.json", "key4.db", ".config/rclone", "Login Data" } },
  { "medium", "attack.t1552.005", { "169.254.169.254", "metadata.google.internal" } },
  { "medium", "attack.t1552.003", { ".bash_history", ".zsh_history", ".mysql_history", ".psql_history" } },
  { "high", "attack.t1552.001", more },
}

local function public(text)
  return text:find "id_%w+%.pub" and not text:find "id_%w+%f[^%w.]"
end

-- severity, technique and what it is about
local function secret_in(text)
  for _, secret in ipairs(secrets) do
    local found = command.contains(text, secret[3])
    if found and not public(command.flat(text)) then
      return secret[1], secret[2], found
    end
  end
  text = command.flat(text)
  if text:find "/proc/[%w${}\"]+/mem%f[%W]" or text:find "/proc/%d+/environ" then
    return "high", "attack.t1003.007", "another process's memory"
  end
end

local function judge(ev)
  local text = ev.args and command.text(ev)
  if text and command.contains(text, tools) then
    return "high", "attack.t1003.007", "a tool that takes credentials"
  elseif text and command.is(ev, readers) then
    local severity, technique, what = secret_in(text)
    if not severity and command.is(ev, greps) and command.flag(ev.args, "-r", "-R")
      and command.contains(text, { "passw", "PASSW", "secret" }) then
      return "low", "attack.t1552.001", "passwords in files"
    end
    return severity, technique, what
  end
  if command.contains(command.told(ev), { "/etc/shadow", "/etc/gshadow" }) then -- also by what is built in
    return "high", "attack.t1003.008", "/etc/shadow"
  end
  for _, one in ipairs(text and command.commands(ev) or {}) do
    for _, path in ipairs(one.reads) do -- while read line; done < /etc/shadow
      local severity, technique, what = secret_in(path)
      if severity then
        return severity, technique, what
      end
    end
  end
end

return mw.script {
  name = "credential-files",
  tags = { "attack.t1003.008", "attack.t1552.001", "attack.t1552.004", "attack.t1552.005", "attack.t1003.007" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local severity, technique, what = judge(ev)
      if severity and not command.below(ev, ignore) then
        mw.alert { severity = severity, key = (ev.sid or "?") .. what, dedup = "1m", event = ev, tags = { technique },
          text = ("is about %s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
