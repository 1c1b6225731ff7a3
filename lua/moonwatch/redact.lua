-- What is taken out of arguments and environments before they are written into a recording: data, no
-- code. A secret becomes [redacted:XXXXXXXX]; the same secret has the same digits within a recording.
--
-- Each rule is a PCRE2 expression; its first group is the secret, or all that it matches when it has
-- none. `has`: literals, of which one must be there (in capital or small letters) for the expression to
-- be tried at all; that keeps commands without secrets cheap, and cheapest with four bytes or more.
-- Arguments lie one after another, each ended by \x00. Too much taken out costs a detail, too little a
-- password: where it is doubtful, these take it out. An expression that begins anywhere must not go on
-- without bound: arguments can be 64 KiB of what it likes.

-- The words that say that a secret follows, as in --mysql-root-password.
local WORD = [[(?:pass(?:word|wd|phrase|code)?|secret|token|credentials?]]
  .. [[|(?:api|access|private|auth|secret|account)[-_]?key)]]
local HAS = { "pass", "secret", "token", "credential", "-key", "_key" }
for _, kind in ipairs { "api", "access", "private", "auth", "account" } do
  HAS[#HAS + 1] = kind .. "key"
end

-- PWD alone is the working directory; Pwd=hunter2 and DB_PWD=hunter2 are not.
local HAS_PWD = { "pwd=", "pwd:", "pwd\0", 'pwd"', "pwd'", "pwd\\" }

-- A value in quotes or without.
local VALUE = [[(?|"([^"\x00]+)|'([^'\x00]+)|([^\x00\s;&,"']+))]]

-- The beginning of a list of arguments of a program with this name, up to any argument.
local function program(name)
  return [[^(?:[^\x00]*/)?]] .. name .. [[\x00(?:[^\x00]*\x00)*?]]
end

-- user:password@ in a URL; the last @ before the path counts.
local URL = { [[://[^\x00\s/?#:@]*:([^\x00\s/?#]+)@]], has = { "://" } }

-- What tokens of well-known services look like, wherever they are.
local TOKENS = {
  -- GitHub: ghp_ gho_ ghu_ ghs_ ghr_ and github_pat_
  {
    [[\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}]],
    has = { "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_" },
  },
  -- GitLab
  { [[\bgl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{16,}]], has = { "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-" } },
  -- Slack
  { [[\bxox[abeprs]-[A-Za-z0-9-]{10,}]], has = { "xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-" } },
  -- Stripe
  { [[\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}]], has = { "k_live_", "k_test_" } },
  -- Google
  { [[\bAIza[A-Za-z0-9_-]{30,}]], has = { "aiza" } },
  -- HashiCorp Vault
  { [[\bhv[sbr]\.[A-Za-z0-9_-]{20,}]], has = { "hvs.", "hvb.", "hvr." } },
  -- npm and PyPI
  { [[\b(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,})]], has = { "npm_", "pypi-" } },
  -- JSON web tokens: their header and their claims both begin with {"
  { [[\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?]], has = { ".eyJ" } },
  -- private keys as PEM, the line ends real or written as \n
  {
    [[-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----([^\x00]*?)(?:-----END|\x00|\z)]],
    has = { "private key-----" },
  },
}

-- What can be in an argument as well as in a variable, besides these rules.
local function anywhere(rules)
  rules[#rules + 1] = URL
  for _, token in ipairs(TOKENS) do
    rules[#rules + 1] = token
  end
  return rules
end

return {
  -- in the arguments of a program
  args = anywhere {
    -- --password=hunter2, --db-password hunter2, -token hunter2; what begins with a dash is the next
    -- option, and the one before it has no value
    { [[(?i)(?:^|\x00)--?[a-z0-9_.-]{0,40}]] .. WORD .. [[(?:=|\x00(?!-))([^\x00]+)]], has = HAS },
    { [[(?i)(?:^|\x00)--?[a-z0-9_.-]{0,40}pwd(?:=|\x00(?!-))([^\x00]+)]], has = HAS_PWD },

    -- AWS_SECRET_ACCESS_KEY=..., -e MYSQL_ROOT_PASSWORD=..., password=...;Database=x, ?token=...&x=y
    { "(?i)" .. WORD .. "[a-z0-9_]{0,20}=" .. VALUE, has = HAS },
    { "(?i)pwd=(?!/)" .. VALUE, has = HAS_PWD },

    -- {"password": "hunter2"}, token: 'hunter2', also inside of other quotes
    { "(?i)" .. WORD .. [[[a-z0-9_]{0,20}\\?["']?\s{0,4}:\s{0,4}\\?["']([^\x00"'\\]+)]], has = HAS },
    { [[(?i)pwd\\?["']?\s{0,4}:\s{0,4}\\?["']([^\x00"'\\]+)]], has = HAS_PWD },

    -- Authorization: Bearer xyz, Proxy-Authorization: Basic xyz, and without a scheme
    {
      [[(?i)authorization["']?\s{0,4}[:=]\s{0,4}["']?]]
        .. [[(?:(?:bearer|basic|token|digest|negotiate|apikey)\s{1,4})?([^\x00"']+)]],
      has = { "authorization" },
    },

    -- X-Api-Key: xyz, X-Auth-Token: xyz, PRIVATE-TOKEN: xyz, Cookie: session=xyz
    {
      [[(?i)(?:apikey|-key|-token|-secret|cookie)\s{0,4}:\s{0,4}([^\x00"']+)]],
      has = { "apikey", "-key", "-token", "-secret", "cookie" },
    },

    -- curl -u user:hunter2, and -U for its proxy
    { program "curl" .. [[(?:-[a-zA-Z]*u\x00?|--user[=\x00])[^\x00:]*:([^\x00]+)]], has = { "curl" } },
    { program "curl" .. [[(?:-[a-zA-Z]*U\x00?|--proxy-user[=\x00])[^\x00:]*:([^\x00]+)]], has = { "curl" } },

    -- the same in a line for a shell
    {
      [[\bcurl\s[^\x00;|&]{0,1000}?(?:(?<=\s)-[a-zA-Z]{0,9}[uU]\s{0,4}|--(?:proxy-)?user[=\s]\s{0,4})]]
        .. [=[["']?[^\x00\s:"']{1,100}:([^\x00\s"';|&]+)]=],
      has = { "curl " },
    },

    -- mysql -phunter2; mysqldump, mariadb and what else belongs to them
    { program [[(?:mysql|mariadb)[a-z_-]*]] .. [[-p([^\x00]+)]], has = { "mysql", "mariadb" } },

    -- sshpass -p hunter2, and the same in a line for a shell
    { [[\bsshpass\x00(?:-[^\x00]*\x00){0,8}-p\x00?([^\x00]+)]], has = { "sshpass" } },
    { [[\bsshpass\s{1,4}-p\s{0,4}]] .. VALUE, has = { "sshpass" } },

    -- redis-cli -a hunter2
    { program "redis-cli" .. [[-a\x00([^\x00]+)]], has = { "redis-cli" } },

    -- ldapsearch -w hunter2, ldapmodify and their like
    { program "ldap[a-z]{3,12}" .. [[-w\x00?([^\x00]+)]], has = { "ldap" } },

    -- openssl -passin pass:hunter2
    { [[(?i)\bpass:([^\x00\s"']+)]], has = { "pass:" } },

    -- smbclient -U user%hunter2
    {
      program "(?:smb[a-z]+|rpcclient)" .. [[(?:-U\x00?|--user[=\x00])[^\x00%]*%([^\x00]+)]],
      has = { "smbclient", "smbget", "smbcacls", "smbtree", "rpcclient" },
    },

    -- htpasswd -b file user hunter2
    { program "htpasswd" .. [[-[a-zA-Z]*b[a-zA-Z]*\x00(?:[^\x00]*\x00)*([^\x00]+)\x00\z]], has = { "htpasswd" } },

    -- sh -c 'echo user:hunter2 | chpasswd'
    { [[:([^\x00\s"'|:]+)["']?\s{0,4}\|\s{0,4}(?:sudo\s{1,4})?chpasswd]], has = { "chpasswd" } },
  },

  environ = {
    -- of a variable with such a name the whole value
    names = {
      { "(?i)" .. WORD, has = HAS },
      -- PWD and OLDPWD are directories
      { [[(?i)^(?!(?:OLD)?PWD$).*pwd]], has = { "pwd" } },
      { [[(?i)_(?:auth|key|cookie|pw|sas|dsn)$]], has = { "_auth", "_key", "_cookie", "_pw", "_sas", "_dsn" } },
    },

    -- in the value of any other
    values = anywhere {},
  },
}
