//! Secrets that are known by what stands around them: a command's option, a
//! header, a file's syntax, a sentence. One context a line.

use super::SecretKind as K;
use super::value::{self, is_harmless, is_placeholder, looks_random};

/// One context. The group `s` of the pattern is the secret.
pub(super) struct Context {
    pub(super) kind: K,
    /// A cheap sign that the context may be there.
    pub(super) sign: &'static str,
    pub(super) pattern: &'static str,
    pub(super) check: Check,
}

/// What must be true of the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The context leaves no doubt: anything that is no placeholder.
    Given,
    /// No word either.
    Random,
    /// Letters and digits as no word has them, or a password that all the world uses.
    Spoken,
    /// Capitals, small letters and digits, as keys in base64 have.
    Key,
    /// Cookies: one of them has a random value.
    Cookies,
    /// Words of small letters that make no sentence.
    Phrase,
}

impl Check {
    pub(super) fn holds(self, secret: &str) -> bool {
        let secret = secret.trim_matches(['?', '!', ':', '(', '[']);
        if is_placeholder(secret) || secret.contains("_REDACTED") {
            return false;
        }
        let count = |test: fn(&u8) -> bool| secret.bytes().filter(test).count();
        match self {
            Self::Given => !is_harmless(secret, false) && !secret.starts_with(['$', '{', '<', '%']),
            Self::Random => {
                secret.len() >= 6
                    && looks_random(secret)
                    && !is_harmless(secret, true)
                    && !secret.starts_with(['<', '%'])
                    && !(secret.starts_with('{') && secret.ends_with('}'))
                    && !(secret.starts_with("${")
                        || secret.starts_with("$(")
                        || secret.starts_with("{{"))
            }
            Self::Spoken => value::is_spoken(secret),
            Self::Phrase => value::is_phrase(secret),
            Self::Key => {
                count(u8::is_ascii_digit) >= 2
                    && count(u8::is_ascii_uppercase) >= 2
                    && count(u8::is_ascii_lowercase) >= 2
            }
            Self::Cookies => secret.split(';').any(|cookie| {
                let value = cookie.split_once('=').map_or("", |(_, value)| value.trim());
                value.len() >= 8 && looks_random(value) && !is_placeholder(value)
            }),
        }
    }
}

const fn c(kind: K, check: Check, sign: &'static str, pattern: &'static str) -> Context {
    Context {
        kind,
        sign,
        pattern,
        check,
    }
}

use Check::{Cookies, Given, Key, Phrase, Random, Spoken};

/// Before all formats: they would take the sign away.
#[rustfmt::skip]
pub(super) const PAIRS: &[Context] = &[
    // The download of a new key, and what people paste: id, then secret.
    c(K::AwsKey, Key, "AKIA|ASIA", r#"(?-u:\b)(?:AKIA|ASIA)[0-9A-Z]{16}["']?[\s,;:|/]{1,4}["']?(?P<s>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|$)"#),
];

#[rustfmt::skip]
pub(super) const CONTEXTS: &[Context] = &[
    // Azure, and its signed addresses.
    c(K::CloudKey, Given, "(?i-u)AccountKey|SharedAccessKey|SharedSecret", r"(?i)(?:AccountKey|SharedAccessKey|SharedSecret)=(?P<s>[A-Za-z0-9+/=%_-]{8,})"),
    c(K::CloudKey, Random, "[?&;]sig=|[?&]code=|Amz-S|goog-[Ss]ignature|Goog-S", r"(?:[?&;]sig=|azurewebsites[.]net/[^\s?]*[?]code=|[?&]X-Amz-S(?:ignature|ecurity-Token)=|[?&]X-Goog-Signature=)(?P<s>[A-Za-z0-9+/=%_-]{6,})"),
    c(K::AwsKey, Key, "(?i-u)aws|amazon", r#"(?i)(?:aws|amazon)[^\n]{0,60}?[\s"'=:,](?P<s>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"#),
    // Query strings.
    c(K::Secret, Random, "[?&]", r#"(?i)[?&](?:access_?token|refresh_?token|id_?token|auth(?:_?token)?|token|api_?key|apikey|app_?key|key|secret|client_secret|sig(?:nature)?|jwt|session(?:_?id)?|ticket|subscription-key|x-api-key)=(?P<s>[^\s&#"'<>`)\]}]{8,})"#),
    // Headers.
    c(K::BearerToken, Random, "(?i-u)authorization", r#"(?i)authorization(?:["']?\s*[:=]|["']\s*,)\s*["'`]?(?:[a-z][a-z0-9_-]{1,20}\s+)?(?P<s>[^\s"'`,;]{8,})"#),
    c(K::BearerToken, Random, "(?i-u)digest|aws4-hmac|oauth", r#"(?i)(?:response|signature|oauth_(?:token|signature))\s?=\s?["']?(?P<s>[A-Za-z0-9+/=%_-]{20,})"#),
    c(K::Cookie, Cookies, "(?i-u)cookie", r#"(?i)(?-u:\b)cookie["']?\s*:\s*["']?(?P<s>[^\s=;"']+=[^\r\n"']*[^\s"'])"#),
    c(K::Cookie, Random, "(?i-u)set-cookie", r#"(?i)set-cookie["']?\s*:\s*["']?[^\s=;"']+=(?P<s>[^\s;"']{6,})"#),
    c(K::Cookie, Random, "(?i-u)sess|csrf|xsrf|connect[.]sid|laravel|auth", r#"(?i)(?-u:\b)(?:php|j|asp[.]net_)?sess(?:ion)?_?id=(?P<s>[A-Za-z0-9%._+/-]{12,})"#),
    c(K::Secret, Random, "(?i-u)x-[a-z0-9-]*(?:token|secret|auth|signature)", r#"(?i)(?-u:\b)x-[a-z0-9-]*(?:token|secret|auth|signature)["']?\s*[:=,]\s*["']?(?P<s>[A-Za-z0-9+/=._~-]{8,})"#),
    // Commands.
    c(K::Password, Given, "(?-u)curl|wget|https?", r#"(?-u:\b)(?:curl|wget|httpie|https?|xh)(?-u:\b)[^\n|;]*?\s(?:-u|--user|-U|--proxy-user|-a|--auth)(?:[ =]\s*)?["']?[^\s:"']{0,64}:(?P<s>[^\s"']+)"#),
    c(K::Password, Given, "(?-u)mysql|mariadb", r#"(?-u:\b)(?:mysql[a-z]*|mariadb[a-z-]*)(?-u:\b)[^\n|;]*?\s-p["']?(?P<s>[^\s"'-][^\s"']*)"#),
    c(K::Password, Given, "(?-u)redis-cli|valkey-cli", r#"(?-u:\b)(?:redis|valkey)-cli(?-u:\b)[^\n|;]*?\s(?:-a|--pass)[ =]["']?(?P<s>[^\s"']+)"#),
    c(K::Password, Given, "(?-u)sshpass", r#"(?-u:\b)sshpass\s+-p\s*["']?(?P<s>[^\s"']+)"#),
    c(K::Password, Given, "(?-u)mongo|docker|podman|helm|az |oc |npm|twine|skopeo|nerdctl|argocd|vault|snowsql", r#"(?-u:\b)(?:mongo(?:sh|dump|restore|export|import)?|(?:docker|podman|helm registry|nerdctl|az|oc|argocd|skopeo|buildah|crane auth)\s+login|twine upload)(?-u:\b)[^\n|;]*?\s-p[ =]?["']?(?P<s>[^\s"'-][^\s"']*)"#),
    c(K::Password, Given, "(?-u)ldap", r#"(?-u:\b)ldap[a-z]+(?-u:\b)[^\n|;]*?\s-w\s*["']?(?P<s>[^\s"'-][^\s"']*)"#),
    c(K::Password, Given, "(?-u)htpasswd", r#"(?-u:\b)htpasswd\s+-[a-zA-Z0-9]*b[a-zA-Z0-9]*\s+(?:-[a-zA-Z0-9]+\s+)*(?:[^\s"'-][^\s"']*\s+){1,2}?["']?(?P<s>[^\s"']+)["']?[ \t]*(?:$|\n|[;&|])"#),
    c(K::Password, Given, "(?-u)rabbitmqctl", r#"(?-u:\b)rabbitmqctl\s+(?:add_user|change_password|authenticate_user)\s+\S+\s+["']?(?P<s>[^\s"']+)"#),
    c(K::Password, Given, "(?-u)smb(?:client|mount|get)", r#"(?-u:\b)smb[a-z]+(?-u:\b)[^\n|;]*?\s-U\s*["']?[^\s%"']+%(?P<s>[^\s"']+)"#),
    c(K::Password, Given, "(?-u)zip|7z|openssl", r#"(?-u:\b)(?:(?:un)?zip(?-u:\b)[^\n|;]*?\s-P\s*|7za?\s[^\n|;]*?\s-p|openssl(?-u:\b)[^\n|;]*?(?:(?-u:\b)pass:|\s-k\s+))["']?(?P<s>[^\s"'-][^\s"']*)"#),
    c(K::Password, Given, "(?-u)chpasswd|sudo", r#"(?-u:\b)echo\s+(?:-[en]+\s+)*["']?(?:[^\s:"']+:)?(?P<s>[^\s"'|:]+)["']?\s*\|\s*(?:sudo\s+(?:-[A-RT-Za-z]\s+)*-S|(?:sudo\s+)?chpasswd)"#),
    c(K::Secret, Random, "--from-literal", r#"--from-literal[= ]["']?[^\s="']+=(?P<s>[^\s"']+)"#),
    c(K::Secret, Random, "--with-token|vault login|auth login", r#"(?:vault login\s+(?:-[^\s]+\s+)*|--with-token\s+<<<\s*)["']?(?P<s>[^\s"'-][^\s"']{7,})"#),
    c(K::Secret, Given, "add-mask", r#"::add-mask::(?P<s>[^\s"'`]+)"#),
    // Files.
    c(K::Password, Given, "(?-u)machine|default", r#"(?-u:\b)(?:machine\s+\S+|default)\s+login\s+\S+\s+(?:account\s+\S+\s+)?password\s+["']?(?P<s>[^\s"']+)"#),
    c(K::Password, Given, "(?-u)_auth|_password", r#"(?::|(?-u:\b)|_)_(?:auth|password)\s*=\s*["']?(?P<s>[A-Za-z0-9+/=_-]{6,})"#),
    c(K::Password, Random, "\"auth\"", r#""auth"\s*:\s*"(?P<s>[A-Za-z0-9+/]{8,}={0,2})""#),
    c(K::PrivateKey, Key, "\"(?:d|k|p|q|dp|dq|qi)\"", r#""(?:d|k|p|q|dp|dq|qi)"\s*:\s*"(?P<s>[A-Za-z0-9_-]{22,})""#),
    c(K::PrivateKey, Given, "LS0tLS1CRUdJTiB", r"(?P<s>LS0tLS1CRUdJTiB(?:QUklWQVRF|SU0EgUFJJVkFUR|FQyBQUklWQVRF|PUEVOU1NIIFBSSVZBVE|FTkNSWVBURUQgUFJJVkFUR|EU0EgUFJJVkFUR|QR1AgUFJJVkFUR)[A-Za-z0-9+/=]*(?:(?:\s|\\n)+[A-Za-z0-9+/=]{32,})*)"),
    c(K::PrivateKey, Given, "b3BlbnNzaC1rZXktdjE", r"(?P<s>b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]*(?:(?:\s|\\n)+[A-Za-z0-9+/=]{16,})*)"),
    c(K::PrivateKey, Given, "IBA|MC4CAQAwBQYDK2V|MHcCAQEEI|MIGHAgEAMBMGBy", r"(?:^|[^A-Za-z0-9+/])(?P<s>(?:MII[A-Za-z0-9]{2,4}IBA(?:AK[CB]|DANBgkqhki)|MC4CAQAwBQYDK2V|MHcCAQEEI|MIGHAgEAMBMGBy)[A-Za-z0-9+/=]{20,}(?:(?:\s|\\n)+[A-Za-z0-9+/=]{32,})*)"),
    c(K::PrivateKey, Given, "Private-Lines", r"Private-Lines: [0-9]+\s+(?P<s>[A-Za-z0-9+/=]{16,}(?:\s+[A-Za-z0-9+/=]{16,})*)"),
    c(K::Password, Given, "(?i-u)<input", r#"(?i)<input(?-u:\b)[^>]*?(?-u:\b)type=["']?password(?-u:\b)[^>]*?(?-u:\b)value=["']?(?P<s>[^\s"'<>]+)"#),
    c(K::Password, Given, "(?i-u)<input", r#"(?i)<input(?-u:\b)[^>]*?(?-u:\b)value=["']?(?P<s>[^\s"'<>]+)["']?[^>]*?(?-u:\b)type=["']?password(?-u:\b)"#),
    c(K::Password, Given, "(?i-u)jdbc:oracle|sqlplus", r#"(?i)(?:jdbc:oracle:[a-z]+:|sqlplus\s+(?:-[a-z]+\s+)*)["']?[a-z0-9_.]+/(?P<s>[^@\s"']+)@"#),
    c(K::Password, Given, "@(?:tcp|unix)", r#"[A-Za-z0-9_.-]+:(?P<s>[^@\s"'`]+)@(?:tcp|unix)\("#),
    c(K::Secret, Key, "://", r#"://(?P<s>[A-Za-z0-9_-]{20,})(?::[A-Za-z-]*)?@"#),
    c(K::Password, Random, "(?i-u)[*][0-9A-F]{40}|md5[0-9a-f]{32}", r#"(?i)(?:identified|password|passwd|shadow|hash)[^\n]{0,30}?(?P<s>[*][0-9A-F]{40}|md5[0-9a-f]{32})(?-u:\b)"#),
    c(K::Password, Given, "(?i-u)identified[ \\t]+by", r#"(?i)(?-u:\b)identified[ \t]+by[ \t]+(?:password[ \t]+)?["'](?P<s>[^\s"']+)["']"#),
    c(K::Password, Given, "(?i-u)auth|networkcredential", r#"(?i)(?:(?-u:\b)auth[ \t]*=[ \t]*|(?-u:\b)(?:http|set)?_?basic_?auth|[.]auth|networkcredential)\([ \t]*["'][^\s"']{1,64}["'][ \t]*,[ \t]*["'](?P<s>[^\s"']+)["']"#),
    // pgpass(5): host, port, database, user.
    c(K::Password, Given, ":5432:|:[*]:", r#"(?m)^[^\s:#]+:(?:5432|[*]):[^\s:]+:[^\s:]+:(?P<s>\S+)$"#),
    // The words that a wallet or a vault is restored from, and the codes of a lost second factor.
    c(K::Secret, Phrase, "(?i-u)mnemonic|(?:seed|recovery|backup|secret)[ _-]?(?:phrase|words)|passphrase", r#"(?i)(?-u:\b)(?:mnemonic(?:[ _-]?(?:phrase|words))?|(?:seed|recovery|backup|secret)[ _-]?(?:phrase|words)|passphrase)["'`*]{0,3}[ \t]*(?:(?:is|was)[ \t]+|[:=]+[ \t]*)["'`*]{0,3}(?P<s>[a-z]{3,12}(?:[ -][a-z]{3,12}){3,23})["'`*.!]{0,3}[ \t]*(?:$|[\r\n,;)])"#),
    c(K::Secret, Random, "(?i-u)(?:recovery|backup)[ _-]codes?", r#"(?i)(?-u:\b)(?:recovery|backup)[ _-]codes?["'`*]{0,3}[ \t]*(?:is|are|[:=])\s*(?P<s>[a-z0-9]{3,10}(?:-[a-z0-9]{3,10})+)"#),
    c(K::Secret, Random, "SSWS ", r"SSWS (?P<s>[A-Za-z0-9_-]{20,})"),
    // crypt(5), htpasswd, OpenLDAP.
    c(K::PasswordHash, Random, "[$][a-z0-9-]{1,14}[$]", r"(?P<s>[$](?:2[abxy]?|apr1|argon2(?:id|i|d)|scrypt|pbkdf2(?:-sha[0-9]+)?|bcrypt-sha256|sha1|md5|g?y|[1567])[$](?:[A-Za-z0-9=,+./-]*[$]){0,4}[A-Za-z0-9./+=]{16,})"),
    c(K::PasswordHash, Random, "[{]S?SHA", r"(?P<s>[{]S?SHA(?:256|512)?[}][A-Za-z0-9+/]{20,}={0,2})"),
    // Sentences. A name and a value side by side: `password hunter2`.
    c(K::Password, Spoken, "(?i-u)pass(?:word|wd|phrase|code|wort)|p[ws]d?[ \\t]", r#"(?i)(?-u:\b)(?:pass(?:word|wd|phrase|code|wort)|pwd|pw)[ \t]+(?:(?:is|was|are|ist|to|of|now|set|changed|rotated|updated|=|->|=>|-|–|—|\|)[ \t]+){0,2}[:"'`*(]{0,3}(?P<s>[^\s"'`,;<>]{5,})"#),
    c(K::Password, Spoken, "(?i-u)pass(?:word|wd|phrase|code|wort)s?[ \\t]+(?:for|of|on|to)", r#"(?i)(?-u:\b)pass(?:word|wd|phrase|code|wort)[ \t]+(?:for|of|on|to)[ \t][^\n:.;]{1,40}?(?:[ \t](?:is|was)|:)[ \t]+["'`*]{0,3}(?P<s>[^\s"'`,;<>]{5,})"#),
    c(K::Password, Spoken, "(?i-u)pass[ \\t]+(?:is|was)", r#"(?i)(?-u:\b)(?:the|my|your|our|his|her|their|new|old|root|admin|login|db|wi-?fi)[ \t]+pass[ \t]+(?:is|was)[ \t]+(?:now[ \t]+)?[:"'`*]{0,3}(?P<s>[^\s"'`,;<>]{5,})"#),
    c(K::Password, Spoken, "(?i-u)(?:as|is)[ \\t]+(?:[a-z]+[ \\t]+){0,2}pass(?:word|wd|phrase|code|wort)", r#"(?i)(?-u:\b)(?P<s>[^\s"'`,;<>]{5,})["'`*]{0,3}[ \t]+(?:as|is)[ \t]+(?:(?:the|a|my|your|our|new|root|admin|db)[ \t]+){0,2}pass(?:word|wd|phrase|code|wort)(?-u:\b)"#),
    c(K::Password, Spoken, "(?i-u)creds?[ \\t:=]|credentials[ \\t:=]", r#"(?i)(?-u:\b)(?:creds?|credentials)(?:[ \t]+(?:are|for[ \t]+\S+))?[ \t]*[:=]?[ \t]*["'`*]{0,3}[\w.@-]{2,64}[ \t]?[:/][ \t]?(?P<s>[^\s"'`,;<>:/]{5,})"#),
    c(K::ApiKey, Spoken, "(?i-u)api[_ -]?key[ \\t]", r#"(?i)api[_ -]?key[ \t]+(?:(?:is|was|=|->|=>)[ \t]+){0,2}[:"'`*]{0,3}(?P<s>[^\s"'`,;<>]{6,})"#),
    c(K::Secret, Spoken, "(?i-u)secret[ \\t]|access key[ \\t]|private key[ \\t]|token[ \\t]|credential[ \\t]", r#"(?i)(?-u:\b)(?:(?:client[ _-])?secret(?:[ _-](?:access[ _-])?key)?|(?:access|private)[ _-]key|token|credential)[ \t]+(?:is|was|=|->|=>)[ \t]+(?:now[ \t]+)?[:"'`*]{0,3}(?P<s>[^\s"'`,;<>]{8,})"#),
    c(K::Password, Spoken, "(?i-u)contrase|mot de passe|senha|kennwort|wachtwoord|hasło|парол|密码|密碼|口令|パスワード|비밀번호", r#"(?i)(?:contraseña|mot de passe|senha|kennwort|wachtwoord|hasło|пароль|密码|密碼|口令|パスワード|비밀번호)[ \t]*(?:is|est|es|ist|是|は|[:=])[ \t]*["'`*]{0,3}(?P<s>[^\s"'`,;<>]{5,})"#),
    c(K::Secret, Given, "[0-9a-fA-F]{64}", r"(?i)(?-u:\b)(?P<lead>(?:token|credential|secret|bearer|mcp[ _-]?bridge|session key)[^\n]{0,60}?)(?-u:\b)(?P<s>[0-9a-f]{64})(?-u:\b)"),
    // A value on the line below its name.
    c(K::Password, Spoken, r#"(?i-u)(?:word|wd|phrase|code|wort|pw|key|secret|token)["'*`]{0,3}:["'*`]{0,3}[ \t]*(?:\r|\n|\\n)"#, r#"(?i)(?:pass(?:word|wd|phrase|code|wort)|(?-u:\b)pwd?|api[ _-]?key|secret(?:[ _-]key)?|token)["'*`]{0,3}:["'*`]{0,3}[ \t]*(?:\r?\n|\\n)[ \t]*["'`]?(?P<s>[^\s:={}\[\]<>"'`,;\\]{6,})["'`]?[ \t]*(?:\r|\n|\\n|$)"#),
];
