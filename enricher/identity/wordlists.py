"""PURE Words that decide what an address is, where the published lists are incomplete or wrong.

They win over the lists. A false "disposable" would drop a real lead without a trace; a missed free-mail
service would make us pay for the record of an internet provider.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RELAYS = _words("""
    privaterelay.appleid.com duck.com simplelogin.com simplelogin.co simplelogin.fr
    simplelogin.io aleeas.com slmail.me slmails.com silomails.com dralias.com 8alias.com
    8shield.net passmail.net passmail.com passinbox.com passfwd.com mozmail.com
    relay.firefox.com opayq.com anonaddy.me anonaddy.com addymail.com addy.io maskedemail.com
    erine.email burnermail.io 33mail.com cloaked.id users.noreply.github.com
    reply.craigslist.org guest.booking.com guest.airbnb.com reply.airbnb.com members.ebay.com
    marketplace.amazon.com marketplace.amazon.co.uk marketplace.amazon.de marketplace.amazon.fr
    marketplace.amazon.it marketplace.amazon.es marketplace.amazon.ca
""")
"""Relays and forwarders, which hide the mailbox behind them. Market places mask their members like that."""

_PERSONAL_MAIL = _words("""
    gmail.com googlemail.com yahoo.com outlook.com hotmail.com live.com msn.com passport.com
    icloud.com me.com mac.com icloud.com.cn aol.com gmx.de gmx.net gmx.com web.de proton.me
    protonmail.com pm.me tutanota.com tutanota.de tuta.com tuta.io tutamail.com keemail.me
    zoho.com zoho.eu zoho.in zohomail.eu zohomail.in fastmail.com fastmail.de yandex.com
    yandex.ru yandex.by yandex.kz ya.ru mail.ru bk.ru list.ru inbox.ru internet.ru narod.ru
    rambler.ua qq.com 163.com 126.com 21cn.com 263.net sify.com in.com hey.com onmail.com
    pobox.com mailbox.org posteo.de startmail.com disroot.org riseup.net autistici.org
    systemli.org countermail.com hushmail.me lavabit.com cock.li airmail.cc onionmail.org
    cyberfear.com skiff.com purelymail.com ik.me mail.fr email.de voila.fr caramail.com
    dbmail.com globo.com globomail.com r7.com oi.com.br superig.com.br walla.com walla.co.il
    nana.co.il daum.net nate.com kakao.com empal.com dreamwiz.com goo.ne.jp infoseek.jp
    pchome.com.tw mail.ua meta.ua dir.bg gbg.bg atlas.cz volny.cz quick.cz azet.sk zoznam.sk
    indamail.hu vipmail.hu tlen.pl interia.eu go2.pl buziaczek.pl delfi.lt inbox.lv inbox.lt
    one.lt in.gr mail.dk ofir.dk jubii.dk youmail.dk passagen.se start.no frisurf.no getmail.no
    pec.it legalmail.it arubapec.it postecert.it poste.it ovi.com lycos.de lycos.co.kr
""")
"""Mail services, including the certified mail (PEC) that Italian companies rent."""

_PROVIDER_MAIL = _words("""
    comcast.net spectrum.net optimum.net suddenlink.net mediacombb.net centurylink.net
    insightbb.com wildblue.net consolidated.net metrocast.net atlanticbb.net flash.net
    nvbell.net currently.com sympatico.ca cogeco.ca eastlink.ca sasktel.net mts.net aliant.net
    bellaliant.net teksavvy.com xplornet.com distributel.net plus.net tesco.net btopenworld.com
    talktalk.co.uk orange.net wanadoo.co.uk lineone.net iol.ie orange.fr sfr.fr neuf.fr
    club-internet.fr numericable.fr bbox.fr aliceadsl.fr cegetel.net noos.fr 9online.fr
    nordnet.fr proximus.be scarlet.be voo.be mobistar.be zeelandnet.nl caiway.nl wxs.nl
    t-online.de magenta.de vodafone.de kabelmail.de versanet.de netcologne.de ewe.net ewetel.net
    osnanet.de online.de onlinehome.de mnet-online.de unity-mail.de utanet.at inode.at liwest.at
    kabsi.at chello.at a1.net hispeed.ch sunrise.ch vtxmail.ch tin.it tim.it fastwebnet.it
    vodafone.it orange.es movistar.es ono.com jazztel.es ya.com telecable.es euskaltel.es
    netcabo.pt clix.pt meo.pt nos.pt telia.com bredband.net comhem.se tele2.se bahnhof.se
    swipnet.se glocalnet.net online.no broadpark.no tdcadsl.dk stofanet.dk post.tele.dk
    saunalahti.fi welho.com online.ee neti.ee t-online.hu upcmail.hu invitel.hu neostrada.pl
    otenet.gr forthnet.gr hol.gr ttmail.com ttnet.net.tr turk.net superonline.com
    netvision.net.il bezeqint.net zahav.net.il 012.net.il 013net.net emirates.net.ae eim.ae
    batelco.com.bh hinet.net netvigator.com docomo.ne.jp ezweb.ne.jp softbank.ne.jp
    i.softbank.jp nifty.com biglobe.ne.jp ocn.ne.jp so-net.ne.jp plala.or.jp au.com dion.ne.jp
    airtelmail.in bsnl.in vsnl.net vsnl.com dataone.in starhub.net.sg pacific.net.sg tm.net.my
    streamyx.com cbn.net.id wo.cn exetel.com.au slingshot.co.nz orcon.net.nz vodafone.co.nz
    inspire.net.nz paradise.net.nz telkomsa.net mweb.co.za vodamail.co.za iafrica.com
    absamail.co.za lantic.net prodigy.net.mx fibertel.com.ar speedy.com.ar ciudad.com.ar vtr.net
    cantv.net une.net.co etb.net.co adinet.com.uy itelefonica.com.br
""")
"""Mailboxes that come with an internet connection."""

FREE_MAIL = _RELAYS | _PERSONAL_MAIL | _PROVIDER_MAIL

NOT_FREE_MAIL = _words("""
    alibaba.com cox.com eurosport.com facebook.com looksmart.com medscape.com name.com
    nus.edu.sg space.com techspot.com telstra.com
""")
"""On the published free-mail list, although the staff of one organisation has its mail there."""

MAIL_BRANDS = _words("""
    gmail googlemail hotmail yahoo outlook icloud protonmail gmx ymail
""")
"""Mail services with many country domains; no list is ever complete."""

TYPOS = _words("""
    gmial.com gmai.com gmal.com gmil.com gmaill.com gamil.com gnail.com gmali.com gmall.com
    gmaul.com ggmail.com gimail.com gmeil.com gmsil.com gmaik.com gmaio.com gmailc.om
    hotmial.com hotmal.com hotmai.com hotmil.com hotmaill.com hotamil.com hotmali.com
    hotmall.com homail.com htomail.com hormail.com yaho.com yahooo.com yhaoo.com yhoo.com
    yahho.com yaoo.com ymial.com outlok.com outlook.co outloo.com outlool.com oulook.com
    outllok.com iclould.com iclod.com icoud.com icluod.com aol.con live.con msn.con gmailcom
    hotmailcom yahoocom outlookcom
""")
"""Free-mail domains as people mistype them; some of these are on the disposable list."""

TYPED_FOR_COM = _words("""
    con co cm om cmo comm vom ocm cim xom coom clm conm comn comcom
""")
"""Misspellings of ".com". Some are real: acme.co may well be meant, hotmail.co is not."""

RESERVED_TLDS = _words("""
    test example invalid localhost local localdomain internal intranet lan home corp private
    onion arpa
""")
"""From RFC 2606, 6761, 6762, 7686, and what private networks call themselves (ICANN's name collisions)."""

TENANTS_ONLY = _words("""
    lpages.co getresponsepages.com unbouncepages.com launchrock.com ck.page systeme.io umso.co
    zyrosite.com hostingersite.com dudaone.com multiscreensite.com mozello.com ukit.me cargo.site
    myshopline.com base.shop thebase.in stores.jp shop-pro.jp imweb.me jumpseller.com zid.store
    youcan.shop empretienda.com.ar kyte.site yampi.com.br eadplataforma.com memberkit.com.br
    learnworlds.com moodlecloud.com circle.so mn.co discourse.group tawk.help crisp.help
    instatus.com myworkdayjobs.com taleo.net icims.com applytojob.com jobvite.com solides.jobs
    hatenablog.com fc2.com tistory.com
    onmicrosoft.com sharepoint.com atlassian.net b2clogin.com jimdosite.com jimdofree.com
    mystrikingly.com godaddysites.com business.site negocio.site weeblysite.com webnode.page
    neocities.org hs-sites.com hubspotpagebuilder.com canva.site myportfolio.com mykajabi.com
    mitiendanube.com lojavirtualnuvem.com.br mybigcommerce.com helpscoutdocs.com intercom.help
    webs.com 000webhostapp.com glitch.me zohosites.com mailchimpsites.com kinsta.cloud softr.app
    glide.page super.site dorik.io tilda.ws ueniweb.com site123.me my.salesforce.com my.site.com
    salesforce-sites.com force.com lightning.force.com cloudwaysapps.com wpcomstaging.com as.me
    statuspage.io readme.io gitbook.io mintlify.app home.blog exposure.co vistaprintdigital.com
    mydurable.com tiendup.com lojaintegrada.com.br lojanuvem.com.br loja2.com.br gupy.io
    bitrix24.site company.site zohodesk.com mercadoshops.com.br pixieset.com simplybook.me
    commercesuite.com.br vtexcommercestable.com.br kpages.online it.gg xoom.it prv.pl webshopapp.com
    jobs.personio.de jobs.personio.com
    setmore.com booksy.com rdstation.com.br bandcamp.com itch.io deviantart.com blogspot.com bitrix24.com.br pipedrive.email
""")
"""Names below these belong to tenants, as below private suffixes; the public suffix list lacks these."""

PLATFORMS = TENANTS_ONLY | _words("""
    shopify.com leadpages.net clickfunnels.com instapage.com convertkit.com flodesk.com kartra.com
    builderall.com readymag.com format.com uservoice.com canny.io helpjuice.com groovehq.com
    smartrecruiters.com ashbyhq.com kenoby.com vagaro.com fresha.com mindbodyonline.com skool.com
    wordpress.com tumblr.com substack.com squarespace.com weebly.com webnode.com jimdo.com
    strikingly.com wix.com over-blog.com e-monsite.com canalblog.com tripod.com angelfire.com
    typepad.com livejournal.com ghost.io bigcartel.com bigcommerce.com storenvy.com ecwid.com
    gumroad.com nuvemshop.com.br tiendanube.com vtex.com teachable.com thinkific.com kajabi.com
    podia.com zendesk.com freshdesk.com freshservice.com intercom.com helpscout.net hubspot.com
    odoo.com bitrix24.com slack.com notion.so pipedrive.com salesforce.com bamboohr.com
    workable.com recruitee.com breezy.hr teamtailor.com personio.de
    personio.com typeform.com surveymonkey.com wpengine.com durable.co acuityscheduling.com
    wufoo.com zohopublic.com amazonaws.com softr.io glideapps.com carrd.co tray.com.br webnode.com.br
    duda.co prestashop.com beepworld.de home.pl shoper.pl lightspeedhq.com mijnwebwinkel.nl
""")
"""As above, but the staff of the platform itself writes from the bare name."""

PLATFORM_BRANDS = _words("blogspot")
"""Platforms with many country domains."""

PROFILE_HOSTS = _words("""
    cnpj.info cnpj.biz lattes.cnpq.br linkin.bio linkedin.com facebook.com fb.com messenger.com instagram.com twitter.com x.com youtube.com
    tiktok.com kwai.com xing.com vk.com ok.ru weibo.com pinterest.com github.com gitlab.com
    bitbucket.org medium.com dev.to crunchbase.com whatsapp.com telegram.org discord.com
    discord.gg skype.com zoom.us linktr.ee lnk.bio beacons.ai bio.link bio.site taplink.cc
    campsite.bio flow.page about.me behance.net dribbble.com issuu.com slideshare.net scribd.com
    etsy.com upwork.com fiverr.com freelancer.com workana.com 99freelas.com.br wellfound.com
    angel.co producthunt.com patreon.com vimeo.com soundcloud.com spotify.com deezer.com twitch.tv
    threads.net threads.com bsky.app reddit.com quora.com stackoverflow.com trustpilot.com
    reclameaqui.com.br kickstarter.com meetup.com sympla.com.br calendly.com
    wikipedia.org wikimedia.org wikidata.org fandom.com apple.com outlook.office.com
    outlook.office365.com microsoftonline.com live.com duckduckgo.com baidu.com booking.com
    airbnb.com doctoralia.com.br ifood.com.br rappi.com.br ubereats.com hotmart.com
    kiwify.com.br eduzz.com jotform.com mailchi.mp tinyurl.com notion.so
    company-information.service.gov.uk steamcommunity.com archive.org archive.ph webcache.google
    greenhouse.io lever.co zoominfo.com apollo.io rocketreach.co dnb.com yellowpages.com paginasamarillas.es
    paginegialle.it gelbeseiten.de pagesjaunes.fr foursquare.com waze.com openstreetmap.org
    econodata.com.br cnpj.biz casadosdados.com.br enjoei.com.br elo7.com.br magazineluiza.com.br
    g.page g.co goo.gl forms.gle youtu.be googleusercontent.com translate.goog ampproject.org
    trello.com canva.com dropbox.com box.com figma.com miro.com airtable.com monday.com asana.com
    clickup.com evernote.com prezi.com wetransfer.com mediafire.com icloud.com flickr.com
    artstation.com wattpad.com ko-fi.com buymeacoffee.com imdb.com genius.com goodreads.com
    houzz.com thumbtack.com angi.com bbb.org justdial.com indiamart.com tradeindia.com manta.com
    hotfrog.com cylex.de europages.com kompass.com wlw.de 11880.com dasoertliche.de meinestadt.de
    northdata.de companyhouse.de societe.com infogreffe.fr mappy.com doctolib.fr doctolib.de
    jameda.de treatwell.de planity.com thefork.com opentable.com opencorporates.com owler.com
    pitchbook.com g2.com capterra.com clutch.co goodfirms.co trustradius.com softwareadvice.com
    zillow.com realtor.com redfin.com zapimoveis.com.br vivareal.com.br quintoandar.com.br
    immobilienscout24.de immowelt.de idealista.com fotocasa.es rightmove.co.uk
    guiamais.com.br telelistas.net apontador.com.br infojobs.com.br infojobs.net catho.com.br
    vagas.com.br computrabajo.com stepstone.de kununu.com xing.de welcometothejungle.com
    americanas.com.br submarino.com.br casasbahia.com.br walmart.com target.com flipkart.com
    allegro.pl bol.com cdiscount.com otto.de leboncoin.fr subito.it marktplaats.nl
    kleinanzeigen.de gumtree.com wallapop.com vinted.com justeat.com deliveroo.com doordash.com
    grubhub.com lieferando.de glovoapp.com viator.com getyourguide.com expedia.com hotels.com
    agoda.com trivago.com decolar.com despegar.com strava.com untappd.com vivino.com
    avvo.com healthgrades.com carvana.com webmotors.com.br jusbrasil.com.br escavador.com paypal.me
    stripe.com picpay.me sumup.link note.com ameblo.jp naver.com tokopedia.com
    sendgrid.net mandrillapp.com list-manage.com hubspotlinks.com rs6.net mlsend.com
""")
"""A page below one of these is about somebody other than the site's own company; so is a mailbox."""

PROFILE_BRANDS = _words("""
    eventbrite google linkedin facebook instagram alibaba rakuten lazada zalando amazon ebay yahoo yandex bing tripadvisor glassdoor indeed yelp aliexpress shopee
    mercadolivre mercadolibre olx craigslist pinterest
""")
"""Sites of that kind with many country domains."""

SHORT_LINKS = _words(
    """fb.me m.me t.me wa.me wa.link g.page b.link bit.ly lnkd.in t.co a.co x.co amzn.to page.link shorturl.at
    rb.gy cutt.ly abre.ai
    encurtador.com.br bitly.com tiny.one tiny.cc rebrand.ly tinyurl.com is.gd ow.ly buff.ly qrco.de app.link onelink.me"""
)
"""Any word may follow these; other shorteners are recognised by the look of their links."""

SAYS_NOTHING = _words("- -- ? . n/a na n.a. none null nil unknown undefined") | {""}
"""What people and exports write into an empty field."""

SOLD_LIKE_REGISTRIES = _words("""
    br.com cn.com co.com com.de com.se de.com eu.com gb.net gr.com hu.net in.net jp.net jpn.com
    mex.com ru.com sa.com se.net uk.com uk.net us.com us.org za.com ae.org
""")
"""Domains below which companies buy names of their own, as they do at a registry."""
