"""PURE What a site is made with, by marks in its page and headers that leave no doubt."""

from __future__ import annotations

from collections.abc import Mapping

from enricher.providers.website.page import Page

_IN_THE_PAGE: Mapping[str, tuple[str, ...]] = {
    "WordPress": ("/wp-content/", "/wp-includes/"),
    "WooCommerce": ("/plugins/woocommerce/",),
    "Elementor": ("/plugins/elementor/",),
    "Yoast SEO": ("yoast-schema-graph", "yoast seo plugin"),
    "Shopify": ("cdn.shopify.com",),
    "Wix": ("static.wixstatic.com", "static.parastorage.com"),
    "Squarespace": ("static1.squarespace.com",),
    "Webflow": ("website-files.com", "data-wf-site"),
    "Jimdo": ("jimcdn.com", "jimdo.systems"),
    "Weebly": ("cdn2.editmysite.com",),
    "Joomla": ("/media/jui/", "/media/system/js/"),
    "Drupal": ("/sites/default/files", "drupal-settings-json"),
    "TYPO3": ("/typo3conf/", "/typo3temp/"),
    "Magento": ("/static/version", "mage/cookies"),
    "PrestaShop": ("/modules/ps_",),
    "Nuvemshop": ("nuvemshop.com.br", "mitiendanube.com"),
    "Loja Integrada": ("cdn.awsli.com.br",),
    "VTEX": ("vteximg.com.br", "vtexassets.com"),
    "Tray": ("images.tcdn.com.br",),
    "Next.js": ("/_next/static/", "__next_data__"),
    "Nuxt": ("/_nuxt/",),
    "React": ("data-reactroot", "react-dom"),
    "Vue.js": ("data-v-app", "/vue.min.js", "/vue.global"),
    "Angular": ("ng-version=",),
    "jQuery": ("jquery.min.js", "jquery-3", "jquery-2", "jquery-1", "/jquery/jquery"),
    "Bootstrap": ("bootstrap.min.css", "bootstrap.min.js", "bootstrap.bundle"),
    "Tailwind CSS": ("tailwindcss",),
    "Font Awesome": ("font-awesome", "fontawesome"),
    "Google Fonts": ("fonts.googleapis.com",),
    "Google Analytics": ("google-analytics.com", "googletagmanager.com/gtag/js", "gtag('config'"),
    "Google Tag Manager": ("googletagmanager.com/gtm.js", "googletagmanager.com/ns.html"),
    "Google Ads": ("googleadservices.com", "gtag('config', 'aw-"),
    "Google Maps": ("maps.googleapis.com", "google.com/maps/embed"),
    "reCAPTCHA": ("google.com/recaptcha",),
    "Meta Pixel": ("connect.facebook.net", "fbq('init'"),
    "LinkedIn Insight": ("snap.licdn.com",),
    "Hotjar": ("static.hotjar.com",),
    "Matomo": ("matomo.js", "piwik.js"),
    "Microsoft Clarity": ("clarity.ms/tag",),
    "HubSpot": ("js.hs-scripts.com", "js.hsforms.net", "hs-analytics.net"),
    "RD Station": ("d335luupugsy2.cloudfront.net", "rdstation"),
    "Mailchimp": ("list-manage.com", "chimpstatic.com"),
    "Salesforce": ("pardot.com", "force.com/embeddedservice"),
    "Zendesk": ("static.zdassets.com",),
    "Intercom": ("widget.intercom.io",),
    "JivoChat": ("code.jivosite.com",),
    "Tawk.to": ("embed.tawk.to",),
    "Tidio": ("code.tidio.co",),
    "Calendly": ("assets.calendly.com",),
    "Typeform": ("embed.typeform.com",),
    "Stripe": ("js.stripe.com",),
    "PayPal": ("paypal.com/sdk",),
    "Cookiebot": ("consent.cookiebot.com",),
    "OneTrust": ("cdn.cookielaw.org",),
    "Usercentrics": ("app.usercentrics.eu",),
    "Cloudflare": ("/cdn-cgi/", "cdnjs.cloudflare.com"),
    "jsDelivr": ("cdn.jsdelivr.net",),
}
_IN_THE_SERVER: Mapping[str, str] = {
    "nginx": "Nginx",
    "apache": "Apache",
    "cloudflare": "Cloudflare",
    "litespeed": "LiteSpeed",
    "microsoft-iis": "Microsoft IIS",
    "openresty": "OpenResty",
    "caddy": "Caddy",
    "vercel": "Vercel",
    "netlify": "Netlify",
    "github.com": "GitHub Pages",
    "pepyaka": "Wix",
    "squarespace": "Squarespace",
    "gws": "Google Web Server",
}
_POWERED_BY: Mapping[str, str] = {
    "php": "PHP",
    "asp.net": "ASP.NET",
    "express": "Express",
    "next.js": "Next.js",
    "plesk": "Plesk",
}
_GENERATORS: Mapping[str, str] = {
    "wordpress": "WordPress",
    "joomla": "Joomla",
    "drupal": "Drupal",
    "typo3": "TYPO3",
    "wix": "Wix",
    "jimdo": "Jimdo",
    "webflow": "Webflow",
    "shopify": "Shopify",
    "squarespace": "Squarespace",
    "elementor": "Elementor",
    "woocommerce": "WooCommerce",
    "prestashop": "PrestaShop",
    "ghost": "Ghost",
    "hugo": "Hugo",
    "jekyll": "Jekyll",
    "gatsby": "Gatsby",
    "astro": "Astro",
    "contao": "Contao",
    "odoo": "Odoo",
    "blogger": "Blogger",
}
_HEADERS = {
    "x-shopify-stage": "Shopify",
    "x-shopid": "Shopify",
    "x-wix-request-id": "Wix",
    "x-drupal-cache": "Drupal",
}


def tech_stack(page: Page, headers: Mapping[str, str]) -> list[str]:
    """Return what the site is made with, in a fixed order."""
    raw, generator = page.raw.lower(), page.head.meta.get("generator", "").lower()
    server, powered = headers.get("server", "").lower(), headers.get("x-powered-by", "").lower()
    found = [
        *(name for mark, name in _GENERATORS.items() if generator.startswith(mark)),
        *(name for name, marks in _IN_THE_PAGE.items() if any(mark in raw for mark in marks)),
        *(name for header, name in _HEADERS.items() if header in headers),
        *(name for mark, name in _POWERED_BY.items() if mark in powered),
        *(name for mark, name in _IN_THE_SERVER.items() if server.startswith(mark)),
    ]
    return list(dict.fromkeys(found))
