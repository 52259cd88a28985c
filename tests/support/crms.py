"""Twelve CRMs, drawn as their users know them, whose collections are read by settings alone.

Each lead is that of somebody at a company of their own, so that what was asked about tells which lead was read, and how.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from bson import Int64

from enricher.lead import Document


@dataclass(frozen=True, slots=True)
class Crm:
    """How one keeps its contacts, and what a user writes into the file of settings for it."""

    name: str
    read: dict[str, str | list[str]]
    only: Document
    contact: Document
    """One that is a lead."""
    address: str
    """The one that counts, of all that the contact has."""
    host: str
    """Whose company it is."""
    without_address: Document
    """Fields of a contact that nobody can be asked about yet."""
    address_comes: Document
    """The update by which it gets one: `new_address`."""
    new_address: str
    excluded: Document
    """Fields of a contact that `only` excludes."""
    expected: Document = field(default_factory=dict)
    """What else is read, where a value is found."""

    @property
    def source(self) -> str:
        """The block of the file. Texts and lists are written in TOML as in JSON."""
        read = [f"{name} = {json.dumps(paths)}" for name, paths in self.read.items()]
        only = json.dumps(json.dumps(self.only))
        return "\n".join(
            ["[[source]]", f'collection = "{self.name}"', f"only = {only}", "[source.read]", *read]
        )


HUBSPOT = Crm(
    "hubspot-contacts",
    read={
        "email": ["properties.email.value", "identity-profiles.identities[type=EMAIL].value"],
        "name": "{properties.firstname.value} {properties.lastname.value}",
        "company": "properties.company.value",
        "website": "properties.website.value",
        "job_title": "properties.jobtitle.value",
    },
    only={"properties.hs_email_optout.value": {"$ne": "true"}, "is-contact": True},
    contact={
        "vid": Int64(204727),
        "is-contact": True,
        "properties": {
            "email": {"value": "", "versions": [{"value": "", "source-type": "API"}]},
            "firstname": {"value": "Noor"},
            "lastname": {"value": " Aalto "},
            "company": {"value": "Lumen Ferry"},
            "website": {"value": "https://www.lumen-ferry.com/en"},
            "jobtitle": {"value": "Harbour pilot"},
            "hs_email_optout": {"value": ""},
        },
        "identity-profiles": [
            {
                "vid": 204727,
                "identities": [
                    {"type": "LEAD_GUID", "value": "f9d728f1-dff1-49b0-9caa-247dbdf5b8b7"},
                    {"type": "EMAIL", "value": "noor.aalto@lumen-ferry.com", "is-primary": True},
                ],
            }
        ],
    },
    address="noor.aalto@lumen-ferry.com",
    host="lumen-ferry.com",
    expected={"name": "Noor Aalto", "company": "Lumen Ferry", "job_title": "Harbour pilot"},
    without_address={"properties": {"lastname": {"value": "Aalto"}}, "identity-profiles": []},
    address_comes={
        "$set": {"properties.email": {"value": "n.aalto@ferry-later.com", "timestamp": 1}}
    },
    new_address="n.aalto@ferry-later.com",
    excluded={"properties": {"email": {"value": "out@ferry-out.com"}}, "is-contact": False},
)
SALESFORCE = Crm(
    "sf_Contact",
    read={
        "email": "Email",
        "name": ["Name", "{FirstName} {LastName}"],
        "company": ["Account.Name", "Company"],
        "website": ["Account.Website", "Website"],
        "job_title": "Title",
    },
    only={"IsDeleted": {"$ne": True}, "attributes.type": {"$in": ["Contact", "Lead"]}},
    contact={
        "attributes": {"type": "Contact", "url": "/services/data/v60.0/sobjects/Contact/003xx01"},
        "Id": "003xx0000001",
        "Email": "t.okeke@basalt-loom.com",
        "Name": None,
        "FirstName": "Tobenna",
        "LastName": "Okeke",
        "Title": "Weaver",
        "Account": {
            "attributes": {"type": "Account", "url": "/services/data/v60.0/sobjects/Account/001"},
            "Name": "Basalt Loom",
            "Website": None,
        },
        "IsDeleted": False,
    },
    address="t.okeke@basalt-loom.com",
    host="basalt-loom.com",
    expected={"name": "Tobenna Okeke", "company": "Basalt Loom", "job_title": "Weaver"},
    without_address={"Email": None, "Account": None},
    address_comes={"$set": {"Email": "tobenna@loom-later.com"}},
    new_address="tobenna@loom-later.com",
    excluded={"Email": "t@loom-out.com", "IsDeleted": True},
)
ODOO = Crm(
    "crm.lead",
    read={
        "email": ["email_from", "email_normalized"],
        "name": ["contact_name", "partner_id"],
        "company": ["partner_name", "commercial_partner_id"],
        "website": "website",
        "job_title": "function",
    },
    only={"active": {"$ne": False}, "is_blacklisted": {"$ne": True}},
    contact={
        "id": 88,
        "active": True,
        "email_from": "Ilse Brandt <ilse.brandt@copper-heron.com>",
        "contact_name": False,
        "partner_id": [17, "Ilse Brandt"],
        "partner_name": False,
        "commercial_partner_id": [12, "Copper Heron"],
        "website": False,
        "function": False,
        "is_blacklisted": False,
    },
    address="ilse.brandt@copper-heron.com",
    host="copper-heron.com",
    expected={"name": "Ilse Brandt", "company": "Copper Heron"},
    without_address={"email_from": False},
    address_comes={"$set": {"email_normalized": "ilse@heron-later.com"}},
    new_address="ilse@heron-later.com",
    excluded={"email_from": "ilse@heron-out.com", "active": False},
)
TWENTY = Crm(
    "person",
    read={
        "email": ["emails.primaryEmail", "emails.additionalEmails"],
        "name": "{name.firstName} {name.lastName}",
        "company": "company.name",
        "website": "company.domainName.primaryLinkUrl",
        "job_title": "jobTitle",
        "linkedin": "linkedinLink.primaryLinkUrl",
    },
    only={"deletedAt": None},
    contact={
        "name": {"firstName": "Soraya", "lastName": ""},
        "emails": {
            "primaryEmail": "",
            "additionalEmails": ["soraya.k@gmail.com", "soraya@velvet-quarry.com"],
        },
        "company": {"name": "", "domainName": {"primaryLinkUrl": "", "secondaryLinks": None}},
        "jobTitle": "",
        "linkedinLink": {"primaryLinkUrl": "https://www.linkedin.com/in/soraya-k-made-up"},
        "deletedAt": None,
    },
    address="soraya@velvet-quarry.com",
    host="velvet-quarry.com",
    expected={"name": "Soraya", "linkedin": "https://www.linkedin.com/in/soraya-k-made-up"},
    without_address={"emails": {"primaryEmail": "", "additionalEmails": None}},
    address_comes={"$set": {"emails.additionalEmails": ["soraya@quarry-later.com"]}},
    new_address="soraya@quarry-later.com",
    excluded={"emails": {"primaryEmail": "s@quarry-out.com"}, "deletedAt": "2026-02-01T00:00:00Z"},
)
SUITE = Crm(
    "suite_contacts",
    read={
        "email": [
            "email_addresses[primary_address=1][invalid_email=0].email_address",
            "email_addresses[invalid_email=0].email_address",
        ],
        "name": "{salutation} {first_name} {last_name}",
        "company": "account_name",
        "job_title": "title",
    },
    only={"deleted": {"$nin": [1, "1", True]}},
    contact={
        "salutation": "",
        "first_name": "Petr",
        "last_name": "Novotný",
        "title": "Foreman",
        "account_name": "Amber Kiln",
        "email_addresses": [
            {"email_address": "old@kiln-gone.com", "primary_address": "1", "invalid_email": "1"},
            {"email_address": "p.novotny@amber-kiln.com", "primary_address": 0, "invalid_email": 0},
        ],
        "deleted": "0",
    },
    address="p.novotny@amber-kiln.com",
    host="amber-kiln.com",
    expected={"name": "Petr Novotný", "company": "Amber Kiln", "job_title": "Foreman"},
    without_address={"email_addresses": {}},
    address_comes={
        "$set": {
            "email_addresses": [
                {"email_address": "p@kiln-later.com", "primary_address": 1, "invalid_email": "0"}
            ]
        }
    },
    new_address="p@kiln-later.com",
    excluded={"email_addresses": [{"email_address": "p@kiln-out.com"}], "deleted": "1"},
)
ZOHO = Crm(
    "Contacts",
    read={
        "email": ["Email", "Secondary_Email"],
        "name": ["Full_Name", "{First_Name} {Last_Name}"],
        "company": "Account_Name.name",
        "job_title": "Title",
    },
    only={"Email_Opt_Out": {"$ne": True}, "Record_Status__s": {"$in": [None, "Available"]}},
    contact={
        "id": "554023000000527002",
        "Email": None,
        "Secondary_Email": "ravi.menon@slate-osprey.com",
        "First_Name": None,
        "Last_Name": "Menon",
        "Full_Name": "Ravi Menon",
        "Account_Name": {"name": "Slate Osprey", "id": "554023000000238121"},
        "Owner": {"name": "Rep", "id": "554023000000235011", "email": "rep@our-own-crm.com"},
        "Title": None,
        "Tag": [],
        "Email_Opt_Out": False,
    },
    address="ravi.menon@slate-osprey.com",
    host="slate-osprey.com",
    expected={"name": "Ravi Menon", "company": "Slate Osprey"},
    without_address={"Secondary_Email": None},
    address_comes={"$set": {"Email": "ravi@osprey-later.com"}},
    new_address="ravi@osprey-later.com",
    excluded={"Email": "ravi@osprey-out.com", "Email_Opt_Out": True},
)
_TITLE, _SITE = (
    "9dc80c50d78a15643bfc4ca79d76156a73a1ca0e",
    "4b1ab6e3f0cc0dd1f1b2a7f1f42b0b6d8c9e6a11",
)
"""Pipedrive names fields of the user's own by hashes."""
PIPEDRIVE = Crm(
    "persons",
    read={
        "email": ["email[primary=true].value", "email.value"],
        "name": "name",
        "company": "org_id.name",
        "website": _SITE,
        "job_title": _TITLE,
    },
    only={"active_flag": True, "marketing_status": {"$ne": "unsubscribed"}},
    contact={
        "name": "Lotte de Wit",
        "email": [
            {"value": "lotte@home-de-wit.nl", "primary": False, "label": "home"},
            {"value": "lotte@tin-lighthouse.nl", "primary": True, "label": "work"},
        ],
        "org_id": {"name": "Tin Lighthouse", "value": 5, "cc_email": "org@pipedrivemail.com"},
        _TITLE: "Keeper",
        _SITE: None,
        "active_flag": True,
        "marketing_status": "subscribed",
    },
    address="lotte@tin-lighthouse.nl",
    host="tin-lighthouse.nl",
    expected={"name": "Lotte de Wit", "company": "Tin Lighthouse", "job_title": "Keeper"},
    without_address={"email": [{"value": "", "primary": True, "label": "work"}]},
    address_comes={"$push": {"email": {"value": "l.dewit@lighthouse-later.nl", "primary": False}}},
    new_address="l.dewit@lighthouse-later.nl",
    excluded={"email": [{"value": "l@lighthouse-out.nl", "primary": True}], "active_flag": False},
)
PORTUGUESE = Crm(
    "clientes",
    read={
        "email": ["contatos[tipo=e-mail][principal=true].valor", "contatos[tipo=e-mail].valor"],
        "name": "{nome} {sobrenome}",
        "company": ["empresa.nomeFantasia", "empresa.razaoSocial"],
        "website": "empresa.site",
        "job_title": "`cargo/função`.`descrição`",
        "cnpj": "empresa.cnpj",
    },
    only={"situacao": {"$ne": "excluído"}, "lgpd.revogadoEm": None},
    contact={
        "nome": "Conceição",
        "sobrenome": "Araújo",
        "contatos": [
            {"tipo": "telefone", "valor": "+55 51 5555-0101", "principal": True},
            {"tipo": "e-mail", "valor": "conceicao@moinho-azul.com.br", "principal": False},
        ],
        "empresa": {
            "nomeFantasia": "  ",
            "razaoSocial": "Moinho Azul Ltda",
            "cnpj": "11.222.333/0001-81",
            "site": "moinho-azul.com.br",
        },
        "cargo/função": [{"descrição": "Diretora"}],
        "situacao": "ativo",
        "lgpd": {"aceite": True, "revogadoEm": None},
    },
    address="conceicao@moinho-azul.com.br",
    host="moinho-azul.com.br",
    expected={
        "name": "Conceição Araújo",
        "company": "Moinho Azul Ltda",
        "job_title": "Diretora",
        "cnpj": "11.222.333/0001-81",
    },
    without_address={"contatos": [], "empresa": None},
    address_comes={
        "$push": {"contatos": {"tipo": "e-mail", "valor": "c@moinho-depois.com.br"}},
    },
    new_address="c@moinho-depois.com.br",
    excluded={"situacao": "excluído"},
)
INTERCOM = Crm(
    "intercom_contacts",
    read={
        "email": ["custom_attributes.work_email", "email"],
        "name": "name",
        "company": "companies.data.name",
        "website": "companies.data.website",
        "linkedin": "social_profiles.data[name=linkedin].url",
    },
    only={"role": {"$in": ["user", "lead"]}, "unsubscribed_from_emails": {"$ne": True}},
    contact={
        "type": "contact",
        "role": "lead",
        "email": "yusuf@gmail.com",
        "name": "Yusuf Demir",
        "custom_attributes": {"work_email": "yusuf.demir@indigo-anvil.com", "paid": True},
        "companies": {
            "type": "list",
            "data": [
                {"name": None},
                {"name": "Indigo Anvil", "website": "http://indigo-anvil.com"},
            ],
        },
        "social_profiles": {
            "data": [{"name": "x", "url": "https://x.com/y"}, {"name": "linkedin", "url": "in/yd"}]
        },
    },
    address="yusuf.demir@indigo-anvil.com",
    host="indigo-anvil.com",
    expected={"name": "Yusuf Demir", "company": "Indigo Anvil", "linkedin": "in/yd"},
    without_address={"email": None, "custom_attributes": {}, "companies": {"data": []}},
    address_comes={"$set": {"custom_attributes.work_email": "yusuf@anvil-later.com"}},
    new_address="yusuf@anvil-later.com",
    excluded={"custom_attributes": {"work_email": "y@anvil-out.com"}, "role": "visitor"},
)
ATTIO = Crm(
    "attio.people",
    read={
        "email": "values.email_addresses[active_until=null].email_address",
        "name": "values.name[active_until=null].full_name",
        "job_title": "values.job_title.0.value",
    },
    only={"values.do_not_contact.value": {"$ne": True}},
    contact={
        "id": {"object_id": "people", "record_id": "0f1e"},
        "values": {
            "name": [
                {"full_name": "Mei Former", "active_until": "2024-05-01T00:00:00Z"},
                {"full_name": "Mei Tanaka", "active_until": None},
            ],
            "email_addresses": [
                {"email_address": "mei@gone-gull.com", "active_until": "2024-05-01T00:00:00Z"},
                {"email_address": "mei.tanaka@saffron-gull.com", "active_until": None},
            ],
            "company": [{"target_object": "companies", "target_record_id": "99a0"}],
            "job_title": [{"value": "Navigator"}, {"value": "Cook"}],
            "do_not_contact": [],
        },
    },
    address="mei.tanaka@saffron-gull.com",
    host="saffron-gull.com",
    expected={"name": "Mei Tanaka", "job_title": "Navigator"},
    without_address={"values": {"email_addresses": []}},
    address_comes={
        "$set": {"values.email_addresses": [{"email_address": "mei@gull-later.com"}]},
    },
    new_address="mei@gull-later.com",
    excluded={
        "values": {
            "email_addresses": [{"email_address": "mei@gull-out.com"}],
            "do_not_contact": [{"value": True}],
        }
    },
)
DYNAMICS = Crm(
    "dataverse.contacts",
    read={
        "email": ["emailaddress1", "emailaddress2"],
        "name": ["fullname", "{firstname} {lastname}"],
        "company": [
            "parentcustomerid_account.name",
            "`_parentcustomerid_value@OData.Community.Display.V1.FormattedValue`",
        ],
        "website": "parentcustomerid_account.websiteurl",
        "job_title": "jobtitle",
    },
    only={"statecode": 0, "donotemail": {"$ne": True}},
    contact={
        "@odata.etag": 'W/"1672"',
        "contactid": "8a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d",
        "firstname": "Signe",
        "lastname": "Holm",
        "fullname": None,
        "jobtitle": "Chandler",
        "emailaddress1": None,
        "emailaddress2": "signe.holm@umber-petrel.com",
        "statecode": 0,
        "donotemail": False,
        "_parentcustomerid_value": "f1c1e7a0-0000-4000-8000-00000000f00d",
        "_parentcustomerid_value@OData.Community.Display.V1.FormattedValue": "Umber Petrel",
        "parentcustomerid_account": {"name": None, "websiteurl": "http://www.umber-petrel.com"},
    },
    address="signe.holm@umber-petrel.com",
    host="umber-petrel.com",
    expected={"name": "Signe Holm", "company": "Umber Petrel", "job_title": "Chandler"},
    without_address={"emailaddress2": None, "parentcustomerid_account": None},
    address_comes={"$set": {"emailaddress1": "signe@petrel-later.com"}},
    new_address="signe@petrel-later.com",
    excluded={"emailaddress1": "s@petrel-out.com", "statecode": 1},
)
HIGHLEVEL = Crm(
    "ghl_contacts",
    read={
        "email": [
            "customFields[id=MgobCB14YMVKuE4Ka8p1].value",
            "email",
            "additionalEmails.email",
        ],
        "name": ["contactName", "{firstName} {lastName}"],
        "company": "companyName",
        "website": "website",
        "job_title": "customFields[id=7TUCR0ZcfRXwVrFyNjQS].value",
    },
    only={"dnd": {"$ne": True}, "tags": {"$ne": "unsubscribed"}},
    contact={
        "locationId": "C2QujeCh8ZnC7al2InWR",
        "contactName": None,
        "firstName": "Tadeo",
        "lastName": "Ruiz",
        "email": "tadeo.ruiz@gmail.com",
        "additionalEmails": [],
        "companyName": "Ochre Marten",
        "website": None,
        "dnd": False,
        "dndSettings": {"SMS": {"status": "inactive"}},
        "tags": ["webinar"],
        "customFields": [
            {"id": "Uk1sVbRwYhQ0tLzJxPcd", "value": ["a@list-of-choices.com", 5]},
            {"id": "MgobCB14YMVKuE4Ka8p1", "value": "tadeo.ruiz@ochre-marten.com"},
            {"id": "7TUCR0ZcfRXwVrFyNjQS", "value": "Miller"},
        ],
    },
    address="tadeo.ruiz@ochre-marten.com",
    host="ochre-marten.com",
    expected={"name": "Tadeo Ruiz", "company": "Ochre Marten", "job_title": "Miller"},
    without_address={"email": None, "customFields": []},
    address_comes={
        "$push": {"customFields": {"id": "MgobCB14YMVKuE4Ka8p1", "value": "t@marten-later.com"}}
    },
    new_address="t@marten-later.com",
    excluded={"email": "t@marten-out.com", "dnd": True},
)
CRMS = (
    *(HUBSPOT, SALESFORCE, ODOO, TWENTY, SUITE, ZOHO, PIPEDRIVE, PORTUGUESE, INTERCOM, ATTIO),
    *(DYNAMICS, HIGHLEVEL),
)
