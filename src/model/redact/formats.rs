//! Secrets that are known by their shape alone: one format a line, each with the
//! place that describes it. Order matters where one may stand inside another.

use super::SecretKind::{self as K, ServiceToken as S};
use super::value::looks_random;

/// One format. A token may follow a word boundary, the `_` of a longer name, an
/// escaped line end or a percent escape, and ends where letters and digits do.
pub(super) struct Format {
    pub(super) kind: K,
    /// A part that every such token has.
    pub(super) sign: &'static str,
    /// What the token looks like, from its first character.
    pub(super) pattern: &'static str,
    pub(super) check: Check,
}

/// What else must be true of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The prefix says it all.
    None,
    /// Behind the prefix stands something random, not a name in code.
    Random,
    /// Letters and several digits: the prefix is a word.
    Digits,
    /// Capitals, small letters and digits together: the prefix says little.
    Mixed,
}

impl Check {
    pub(super) fn holds(self, token: &str, sign: usize) -> bool {
        let count = |test: fn(&u8) -> bool| token.bytes().filter(test).count();
        let digits = count(u8::is_ascii_digit);
        match self {
            Self::None => true,
            Self::Random => looks_random(token.get(sign..).unwrap_or(token)),
            Self::Digits => digits >= 3,
            Self::Mixed => {
                digits >= 2
                    && count(u8::is_ascii_uppercase) >= 2
                    && count(u8::is_ascii_lowercase) >= 2
            }
        }
    }
}

const fn f(
    kind: K,
    sign: &'static str,
    pattern: &'static str,
    check: Check,
    _source: &'static str,
) -> Format {
    Format {
        kind,
        sign,
        pattern,
        check,
    }
}

use Check::{Digits, Mixed, None, Random};

#[rustfmt::skip]
pub(super) const FORMATS: &[Format] = &[
    // The longest formats first: chance may put a short one inside them.
    f(S, "sk.eyJ", r"sk[.]eyJ[A-Za-z0-9_-]{20,}[.][A-Za-z0-9_-]{10,}", None, "docs.mapbox.com/help/glossary/access-token"),
    f(S, "ops_eyJ", r"ops_eyJ[A-Za-z0-9_+/=-]{60,}", None, "developer.1password.com/docs/service-accounts"),
    f(K::Jwt, "eyJ", r"eyJ[A-Za-z0-9_-]{6,}(?:[.][A-Za-z0-9_-]+){2,4}", None, "RFC 7519"),
    f(K::AnthropicKey, "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{16,}", None, "docs.anthropic.com/en/api"),
    f(K::OpenaiKey, "sk-", r"sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}|(?:[a-z0-9]{2,8}-){0,2}[A-Za-z0-9]{20}[A-Za-z0-9_-]*)", None, "platform.openai.com/docs/api-reference/authentication; openrouter.ai, deepseek.com, langfuse.com use it too"),
    f(K::OpenaiKey, "sess-", r"sess-[A-Za-z0-9]{40}", None, "platform.openai.com (dashboard session)"),
    f(K::GithubToken, "gh[pousr]_|github_pat_", r"(?:gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9]{20})[A-Za-z0-9_]*", None, "docs.github.com: about authentication to GitHub"),
    f(K::SlackToken, "xox[a-z]|xapp-", r"(?:xox[a-z](?:[.]xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}", Digits, "api.slack.com/concepts/token-types"),
    f(K::SlackToken, "hooks[.]slack", r"(?:https?://)?hooks[.]slack[.]com/[a-z]+/[A-Za-z0-9/_-]{8,}", None, "api.slack.com/messaging/webhooks"),
    f(K::GoogleKey, "AIza", r"AIza[A-Za-z0-9_-]{35,}", None, "cloud.google.com/docs/authentication/api-keys"),
    f(K::GoogleKey, "ya29[.]", r"ya29[.][A-Za-z0-9_-]{20,}", None, "developers.google.com/identity/protocols/oauth2"),
    f(K::GoogleKey, "1//0", r"1//0[A-Za-z0-9_-]{30,}", None, "developers.google.com/identity/protocols/oauth2 (refresh token)"),
    f(K::GoogleKey, "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{20,}", None, "developers.google.com/identity/protocols/oauth2 (client secret)"),
    f(K::GoogleKey, "AQ[.]Ab", r"AQ[.]Ab[A-Za-z0-9_-]{30,}", None, "cloud.google.com/vertex-ai (express mode key)"),
    f(K::GoogleKey, "APA91b", r"AAAA[A-Za-z0-9_-]{7}:APA91b[A-Za-z0-9_-]{100,}", None, "firebase.google.com/docs/cloud-messaging (server key)"),
    f(K::AwsKey, "ABSK", r"ABSK[A-Za-z0-9+/]{60,}={0,2}", Mixed, "docs.aws.amazon.com/bedrock/latest/userguide/api-keys"),
    f(K::AwsKey, "bedrock-api-key-", r"bedrock-api-key-[A-Za-z0-9+/]{40,}={0,2}", None, "docs.aws.amazon.com/bedrock/latest/userguide/api-keys"),
    f(K::AwsKey, "A3T|AKIA|ASIA|ABIA|ACCA", r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}", None, "docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers"),
    f(K::AwsKey, "akia|asia", r"(?:akia|asia)[0-9a-z]{16}", Digits, "the same, in small letters"),
    f(K::NpmToken, "npm_", r"npm_[A-Za-z0-9]{36,}", None, "docs.npmjs.com/about-access-tokens"),
    f(K::GitlabToken, "gl[a-z]{2,7}-", r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|soat|imt|agent|ffct|wt)-[A-Za-z0-9_-]{20,}(?:[.][A-Za-z0-9_-]+)*", None, "docs.gitlab.com/security/tokens"),
    f(K::GitlabToken, "GR1348941", r"GR1348941[A-Za-z0-9_-]{20,}", None, "docs.gitlab.com/security/tokens"),
    // Clouds and hosting.
    f(K::CloudKey, "Q~", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", None, "learn.microsoft.com/entra: client secret"),
    f(K::CloudKey, "AST|ASt|ASb|AEh|ARm|AMC|ACDb|AzSe|AzCa|AzFu|APIM|AIoT|AZDO", r"[A-Za-z0-9+/]{33,80}(?:[+]AST?t?|[+]ASt|[+]ASb|[+]AEh|[+]ARm|[+]AMC|ACDb|AzSe|AzCa|AzFu|APIM|AIoT|AZDO)[A-Za-z0-9+/]{4,8}={0,2}", Mixed, "learn.microsoft.com/purview: Azure identifiable keys"),
    f(K::CloudKey, "do[oprt]_v1_", r"do[oprt]_v1_[a-f0-9]{40,}", None, "docs.digitalocean.com/reference/api"),
    f(K::CloudKey, "LTAI", r"LTAI[A-Za-z0-9]{12,22}", Digits, "alibabacloud.com: AccessKey pair"),
    f(K::CloudKey, "AKID", r"AKID[A-Za-z0-9]{32}", Mixed, "cloud.tencent.com: SecretId"),
    f(K::CloudKey, "AQVN", r"AQVN[A-Za-z0-9_-]{35,38}", Random, "yandex.cloud: API key"),
    f(K::CloudKey, "y0_", r"y[0-3]_[A-Za-z0-9_-]{50,}", Mixed, "yandex.com/dev/id: OAuth token"),
    f(K::CloudKey, "SCW", r"SCW[A-Z0-9]{17}", Digits, "scaleway.com/en/docs: API key"),
    f(K::CloudKey, "cf[uatk]+_", r"cf(?:ut|at|k)_[A-Za-z0-9]{40,}", Digits, "developers.cloudflare.com/fundamentals/api"),
    f(K::CloudKey, "v1.0-", r"v1[.]0-[a-f0-9]{24}-[a-f0-9]{100,}", None, "developers.cloudflare.com: origin CA key"),
    f(K::CloudKey, "HRKU-", r"HRKU-[A-Za-z0-9_-]{30,}", None, "devcenter.heroku.com/articles/platform-api-reference"),
    f(K::CloudKey, "FlyV1|fm[12][ar]?_|fo1_", r"(?:FlyV1 )?(?:fm[12][ar]?_[A-Za-z0-9+/=_-]{40,}(?:,fm[12][ar]?_[A-Za-z0-9+/=_-]{20,})*|fo1_[A-Za-z0-9_-]{30,})", Mixed, "fly.io/docs/security/tokens"),
    f(K::CloudKey, "nf[cpoub]_", r"nf[cpoub]_[A-Za-z0-9]{30,}", Random, "docs.netlify.com/api: personal access token"),
    f(K::CloudKey, "vc[pciark]_", r"vc[pciark]_[A-Za-z0-9]{24,}", Random, "vercel.com/docs/sign-in-with-vercel/tokens"),
    f(K::CloudKey, "vercel_blob_rw_", r"vercel_blob_rw_[A-Za-z0-9_]{20,}", None, "vercel.com/docs/storage/vercel-blob"),
    f(K::CloudKey, "rnd_", r"rnd_[A-Za-z0-9]{28,}", Random, "render.com/docs/api"),
    f(K::CloudKey, "tk-us-", r"tk-us-[A-Za-z0-9_-]{48}", None, "developers.scalingo.com"),
    f(K::CloudKey, "dapi", r"dapi[a-f0-9]{32}(?:-[0-9])?", Digits, "docs.databricks.com/dev-tools/auth/pat"),
    f(K::CloudKey, "pscale_", r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_.=-]{30,}", None, "planetscale.com/docs/concepts/service-tokens"),
    f(K::CloudKey, "sbp_|sb_secret_", r"(?:sbp_(?:v0_)?[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,})", None, "supabase.com/docs/guides/api/api-keys"),
    f(K::CloudKey, "napi_", r"napi_[a-z0-9]{40,}", Digits, "neon.com/docs/manage/api-keys"),
    // Registries and build services.
    f(S, "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{40,}", None, "pypi.org/help/#apitoken"),
    f(S, "cio", r"cio[A-Za-z0-9]{32}", Mixed, "crates.io/settings/tokens"),
    f(S, "rubygems_", r"rubygems_[a-f0-9]{40,}", None, "guides.rubygems.org/api-key-scopes"),
    f(S, "oy2", r"oy2[a-z0-9]{43}", Digits, "learn.microsoft.com/nuget: API keys"),
    f(S, "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}", None, "docs.docker.com/security/access-tokens"),
    f(S, "CLOJARS_", r"CLOJARS_[a-z0-9]{50,}", None, "github.com/clojars/clojars-web/wiki/Deploy-Tokens"),
    f(S, "packagist_", r"packagist_[a-z]{2,4}_[a-f0-9]{60,}", None, "packagist.com/docs"),
    f(S, "AKCp|cmVmdGtu", r"(?:AKCp[A-Za-z0-9]{60,80}|cmVmdGtu[A-Za-z0-9]{50,})", None, "jfrog.com/help: API key, reference token"),
    f(S, "ATBB|ATATT3|ATCTT3|ATSTT3", r"(?:ATBB[A-Za-z0-9]{28,}|AT(?:ATT|CTT|STT)3[A-Za-z0-9_=-]{60,})", None, "support.atlassian.com: API tokens, app passwords"),
    f(S, "BBDC-", r"BBDC-[A-Za-z0-9+/@]{30,}", None, "confluence.atlassian.com: HTTP access tokens"),
    f(S, "CCIPAT_|CCIPRJ_", r"CCIP(?:AT|RJ)_[A-Za-z0-9]{15,}_[a-f0-9]{40}", None, "circleci.com/docs/managing-api-tokens"),
    f(S, "bk[upacq]+_", r"bk(?:ua|pt|ct|at|aj)_[a-f0-9]{40}", None, "buildkite.com/docs/apis/managing-api-tokens"),
    f(S, "sq[upa]_", r"sq[upa]_[a-f0-9]{40}", None, "docs.sonarsource.com: tokens"),
    f(S, "sg[pdw]+_", r"sgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}", None, "sourcegraph.com/docs/cli/how-tos/creating_an_access_token"),
    f(S, "sntry[su]_", r"sntry(?:s_eyJ[A-Za-z0-9+/=_-]{40,}|u_[a-f0-9]{60,})", None, "docs.sentry.io/account/auth-tokens"),
    f(S, "pn[ub]_", r"pn[ub]_[A-Za-z0-9]{36}", Random, "docs.prefect.io: API keys"),
    f(S, "dp[.]", r"dp[.](?:pt|st|ct|sa|scim|audit)(?:[.][a-z0-9_-]{2,35})?[.][A-Za-z0-9]{40,44}", None, "docs.doppler.com/reference/auth-token-formats"),
    f(S, "pul-", r"pul-[a-f0-9]{40}", None, "pulumi.com/docs/pulumi-cloud/access-management/access-tokens"),
    f(S, "atlasv1", r"[A-Za-z0-9]{14}[.]atlasv1[.][A-Za-z0-9_=-]{40,}", None, "developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens"),
    f(S, "hv[sbr][.]", r"hv[sbr][.][A-Za-z0-9_-]{20,}", None, "developer.hashicorp.com/vault/docs/concepts/tokens"),
    f(S, r"[sbr][.][A-Za-z0-9]{24}", r"[sbr][.][A-Za-z0-9]{24}", Mixed, "the same, before Vault 1.10"),
    f(S, "tskey-", r"tskey-(?:[a-z]+-)?[A-Za-z0-9]{6,}-[A-Za-z0-9]{20,}", None, "tailscale.com/kb/1277/key-prefixes"),
    f(S, "A3-", r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}", None, "support.1password.com/secret-key-security"),
    f(K::PrivateKey, "(?i)age-secret-key-", r"(?i)AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{50,}", None, "github.com/C2SP/C2SP/blob/main/age.md"),
    f(S, "dnkey-", r"dnkey-[A-Z0-9_-]{26}-[A-Z0-9_-]{52}", None, "docs.defined.net"),
    f(S, "pat[.]", r"pat[.][A-Za-z0-9_-]{22}[.][a-f0-9]{24}[.][A-Za-z0-9]{20}", None, "developer.harness.io: API keys"),
    // Models and what surrounds them.
    f(S, "hf_|api_org_", r"(?:hf_(?:oauth_)?|api_org_)[A-Za-z0-9]{30,}", Random, "huggingface.co/docs/hub/security-tokens"),
    f(S, "r8_", r"r8_[A-Za-z0-9]{32,}", Random, "replicate.com/docs/reference/http#authentication"),
    f(S, "xai-", r"xai-(?:token-)?[A-Za-z0-9]{40,}", Random, "docs.x.ai/docs/overview"),
    f(S, "gsk_", r"gsk_[A-Za-z0-9]{40,}", Random, "console.groq.com/docs/quickstart"),
    f(S, "pplx-", r"pplx-[A-Za-z0-9]{32,}", Random, "docs.perplexity.ai/getting-started"),
    f(S, "nvapi-", r"nvapi-[A-Za-z0-9_-]{40,}", Random, "docs.nvidia.com/nim: API keys"),
    f(S, "fw_", r"fw_[A-Za-z0-9]{20,32}", Mixed, "docs.fireworks.ai/api-reference"),
    f(S, "tgp_v1_", r"tgp_v1_[A-Za-z0-9_-]{30,}", None, "docs.together.ai/docs/api-keys-authentication"),
    f(S, "csk-", r"csk-[a-z0-9]{40,}", Digits, "inference-docs.cerebras.ai"),
    f(S, "pcsk_", r"pcsk_[A-Za-z0-9]{4,8}_[A-Za-z0-9]{40,}", None, "docs.pinecone.io/guides/projects/manage-api-keys"),
    f(S, "lsv2_", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}", None, "docs.langchain.com/langsmith: API keys"),
    f(S, "tvly-", r"tvly-(?:[a-z]{2,5}-)?[A-Za-z0-9]{28,}", Random, "docs.tavily.com"),
    f(S, "jina_", r"jina_[a-f0-9]{32}[A-Za-z0-9_-]{20,}", None, "jina.ai: API key"),
    f(S, "e2b_", r"e2b_[a-f0-9]{40}", None, "e2b.dev/docs/api-key"),
    f(S, "esecret_", r"esecret_[A-Za-z0-9]{20,}", Random, "docs.anyscale.com"),
    f(S, "sk_", r"sk_[a-f0-9]{48}", Digits, "elevenlabs.io/docs/api-reference/authentication"),
    f(S, "fc-", r"fc-[a-f0-9]{32}", Digits, "docs.firecrawl.dev"),
    f(S, "pa-", r"pa-[A-Za-z0-9_-]{43}", Mixed, "docs.voyageai.com"),
    f(S, "wandb_v1_", r"wandb_v1_[A-Za-z0-9_-]{40,}", None, "docs.wandb.ai: API keys"),
    f(S, "ls__", r"ls__[a-f0-9]{32}", None, "docs.langchain.com/langsmith: API keys, older"),
    // Money.
    f(S, "[sr]k_", r"[sr]k_(?:live|test|prod)_[A-Za-z0-9]{16,}", Random, "docs.stripe.com/keys; clerk.com, paystack.com use it too"),
    f(S, "whsec_", r"whsec_[A-Za-z0-9+/]{20,}={0,2}", Random, "docs.stripe.com/webhooks; standardwebhooks.com"),
    f(S, "sq0", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,}", None, "developer.squareup.com/docs/build-basics/access-tokens"),
    f(S, "EAA", r"EAA[A-Z][A-Za-z0-9_-]{50,}", Mixed, "developer.squareup.com; developers.facebook.com: access tokens"),
    f(S, "shp[a-z]{2}_", r"shp(?:at|ca|pa|ss|tka|ua)_[a-fA-F0-9]{32,}", None, "shopify.dev/docs/apps/build/authentication-authorization"),
    f(S, "access-", r"access-(?:sandbox|development|production)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", None, "plaid.com/docs/api/tokens"),
    f(S, r"access_token[$]", r"access_token[$](?:production|sandbox)[$][0-9a-z]{16}[$][0-9a-f]{32}", None, "developer.paypal.com/braintree/docs"),
    f(S, "rzp_", r"rzp_(?:live|test)_[A-Za-z0-9]{14,}", Random, "razorpay.com/docs/payments/dashboard/account-settings/api-keys"),
    f(S, "FLWSECK", r"FLWSECK(?:_TEST|_LIVE)?-[A-Za-z0-9]{12,}(?:-X)?", None, "developer.flutterwave.com/docs/authentication"),
    f(S, "EZ[AT]K", r"EZ[AT]K[A-Za-z0-9]{40,}", Mixed, "docs.easypost.com/docs/authentication"),
    f(S, "shippo_", r"shippo_(?:live|test)_[a-f0-9]{40}", None, "docs.goshippo.com/docs/guides_general/authentication"),
    f(S, "duffel_", r"duffel_(?:live|test)_[A-Za-z0-9_=-]{40,}", None, "duffel.com/docs/api/overview/making-requests"),
    // Mail, chat, telephone.
    f(S, "SG[.]", r"SG[.][A-Za-z0-9_-]{16,32}[.][A-Za-z0-9_-]{30,64}", None, "twilio.com/docs/sendgrid/ui/account-and-settings/api-keys"),
    f(S, "AC[0-9a-f]{8}|SK[0-9a-f]{8}", r"(?:AC|SK)[0-9a-f]{32}", Digits, "twilio.com/docs/glossary/what-is-a-sid"),
    f(S, "key-", r"key-[0-9a-f]{32}(?:-[0-9a-f]{8}-[0-9a-f]{8})?", Digits, "documentation.mailgun.com/docs/mailgun/api-reference"),
    f(S, "-us[0-9]", r"[0-9a-f]{32}-us[0-9]{1,2}", Digits, "mailchimp.com/developer/marketing/docs/fundamentals"),
    f(S, "xkeysib-|xsmtpsib-", r"x(?:key|smtp)sib-[a-f0-9]{64}-[A-Za-z0-9]{16}", None, "developers.brevo.com/docs/getting-started"),
    f(S, "re_", r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}", Mixed, "resend.com/docs/api-reference"),
    f(S, r"[.][A-Za-z0-9_-]{6}[.]", r"[MNO][A-Za-z0-9_-]{23,27}[.][A-Za-z0-9_-]{6}[.][A-Za-z0-9_-]{27,}", Mixed, "discord.com/developers/docs/reference#authentication"),
    f(S, "mfa[.]", r"mfa[.][A-Za-z0-9_-]{80,}", None, "discord.com: user token"),
    f(S, ":A[A-Za-z0-9_-]{34}", r"(?:bot)?[0-9]{8,10}:A[A-Za-z0-9_-]{34}", Mixed, "core.telegram.org/bots/api#authorizing-your-bot"),
    f(S, "EAACEdEose0cBA|IG(?:QV|AA)", r"(?:EAACEdEose0cBA[A-Za-z0-9]{10,}|IG(?:QV|AA)[A-Za-z0-9_-]{60,})", None, "developers.facebook.com/docs/facebook-login/guides/access-tokens"),
    f(S, "A{18}", r"A{18,24}[A-Za-z0-9%]{40,}", Mixed, "docs.x.com: app-only bearer token"),
    // Addresses that accept posts from anyone who knows them.
    f(K::WebhookUrl, "webhook[.]office", r"(?:https?://)?[a-z0-9-]+[.]webhook[.]office[.]com/webhookb2/[A-Za-z0-9@/_-]{8,}", None, "learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors"),
    f(K::WebhookUrl, "/api/webhooks/", r"(?:https?://)?(?:[a-z]+[.])?discord(?:app)?[.]com/api/(?:v[0-9]+/)?webhooks/[0-9]{8,}/[A-Za-z0-9_-]{8,}", None, "discord.com/developers/docs/resources/webhook"),
    f(K::WebhookUrl, "hooks[.]zapier", r"(?:https?://)?hooks[.]zapier[.]com/hooks/(?:catch|standard)/[A-Za-z0-9/_-]{6,}", None, "zapier.com/apps/webhook"),
    f(K::WebhookUrl, "maker[.]ifttt", r"(?:https?://)?maker[.]ifttt[.]com/(?:trigger/[A-Za-z0-9_]+/(?:json/)?with/key|use)/[A-Za-z0-9_-]{8,}", None, "ifttt.com/maker_webhooks"),
    f(K::WebhookUrl, "[.]make[.]com/", r"(?:https?://)?hook[.][a-z0-9]+[.]make[.]com/[A-Za-z0-9]{16,}", None, "help.make.com/webhooks"),
    f(K::WebhookUrl, "open[.](?:feishu|larksuite)", r"(?:https?://)?open[.](?:feishu[.]cn|larksuite[.]com)/open-apis/bot/v2/hook/[A-Za-z0-9-]{16,}", None, "open.feishu.cn: custom bot"),
    f(K::WebhookUrl, "chat[.]googleapis", r"(?:https?://)?chat[.]googleapis[.]com/v1/spaces/[A-Za-z0-9_-]+/messages[?][A-Za-z0-9_=&%.-]{20,}", None, "developers.google.com/workspace/chat/quickstart/webhooks"),
    f(K::WebhookUrl, "qyapi[.]weixin", r"(?:https?://)?qyapi[.]weixin[.]qq[.]com/cgi-bin/webhook/send[?]key=[A-Za-z0-9-]{16,}", None, "developer.work.weixin.qq.com: group robot"),
    f(K::WebhookUrl, "logic[.]azure", r"(?:https?://)?[a-z0-9.-]+[.]logic[.]azure[.]com(?::443)?/workflows/[A-Za-z0-9]{16,}/[A-Za-z0-9/?&=%._~-]*sig=[A-Za-z0-9_%-]{6,}", None, "learn.microsoft.com/azure/logic-apps"),
    // Work and watching.
    f(S, "lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}", None, "linear.app/developers"),
    f(S, "secret_", r"secret_[A-Za-z0-9]{43}", Mixed, "developers.notion.com/docs/authorization"),
    f(S, "ntn_", r"ntn_[A-Za-z0-9]{40,}", Random, "developers.notion.com/docs/authorization"),
    f(S, "fig[duor]", r"fig(?:d|u|or?h?)_[A-Za-z0-9_-]{30,}", Random, "developers.figma.com/docs/rest-api/authentication"),
    f(S, "pat[A-Za-z0-9]{14}", r"pat[A-Za-z0-9]{14}[.][a-f0-9]{60,}", None, "airtable.com/developers/web/guides/personal-access-tokens"),
    f(S, "PMAK-|PMAT-", r"PM(?:AK-[a-f0-9]{24}-[a-f0-9]{34}|AT-[A-Z0-9]{26})", None, "learning.postman.com/docs/developer/postman-api/authentication"),
    f(S, "pk_", r"pk_[0-9]{5,}_[A-Z0-9]{32}", None, "developer.clickup.com/docs/authentication"),
    f(S, "tfp_", r"tfp_[A-Za-z0-9_.=-]{40,}", None, "typeform.com/developers/get-started/personal-access-token"),
    f(S, "pat-", r"pat-(?:na|eu|ap)[0-9]+-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", None, "developers.hubspot.com/docs/apps: private app token"),
    f(S, "CFPAT-", r"CFPAT-[A-Za-z0-9_-]{40,}", None, "contentful.com/developers/docs/references/authentication"),
    f(S, "sl[.]", r"sl[.](?:u[.])?[A-Za-z0-9_-]{100,}", Mixed, "dropbox.com/developers/documentation/http/documentation"),
    f(S, "ATTA", r"ATTA[a-f0-9]{64}[A-F0-9]{8}", None, "developer.atlassian.com/cloud/trello"),
    f(S, "rdme_", r"rdme_[a-z0-9]{60,}", None, "docs.readme.com/main/reference/intro/authentication"),
    f(S, "NR(?:AK|AL|JS|II|IQ|RA|SP|AA)-?", r"NR(?:AK|JS|AL|II|IQ|RA|SP|AA)-[A-Za-z0-9_-]{19,}", Digits, "docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys"),
    f(S, "gl(?:sa|c)_", r"gl(?:sa_[A-Za-z0-9]{32}_[a-fA-F0-9]{6,8}|c_eyJ?[A-Za-z0-9+/=_-]{32,})", None, "grafana.com/docs/grafana/latest/administration/service-accounts"),
    f(S, "hc[abx][a-z0-9]+_", r"hc[ab][a-z0-9]{1,2}[ki]_[a-z0-9]{40,}|hcx(?:ik|mk)_[a-z0-9]{40,}", Digits, "docs.honeycomb.io/configure/environments/manage-api-keys"),
    f(S, "dt0[a-z]0[0-9]", r"dt0[a-z]0[0-9][.][A-Z0-9]{8,24}[.][A-Z0-9]{64}", None, "docs.dynatrace.com: access tokens"),
    f(S, "phx_", r"phx_[A-Za-z0-9]{40,}", Random, "posthog.com/docs/api"),
    f(S, "ddapp_", r"ddapp_[A-Za-z0-9]{34}", None, "docs.datadoghq.com/account_management/api-app-keys"),
    f(S, "sdk-|api-|mob-", r"(?:sdk|api|mob)-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", None, "launchdarkly.com/docs/sdk/concepts/client-side-server-side"),
    f(S, "live_|test_", r"(?:live|test)_(?:pub_)?[a-f0-9]{35}", Digits, "docs.lob.com: API keys"),
    // Hashes of passwords, as frameworks and databases write them.
    f(K::PasswordHash, r"pbkdf2_sha|bcrypt_sha|argon2[$]", r"(?:pbkdf2_sha(?:1|256)|bcrypt_sha256|argon2)[$][A-Za-z0-9$=,+./-]{30,}", None, "docs.djangoproject.com/en/stable/topics/auth/passwords"),
    f(K::PasswordHash, "SCRAM-SHA-", r"SCRAM-SHA-(?:1|256)[$][0-9]+:[A-Za-z0-9+/=]{8,}[$][A-Za-z0-9+/=]{20,}:[A-Za-z0-9+/=]{20,}", None, "postgresql.org/docs/current/catalog-pg-authid"),
    f(K::BridgeToken, "mcpb_", r"mcpb_[A-Za-z0-9_-]{20,}", Random, "docs/threat-model.md"),
];
