"""An API for leads beside enricher: it inserts them, shows what was found, and has them enriched again.

pip install fastapi uvicorn pymongo lead-enricher
MONGODB_URI=mongodb://… uvicorn fastapi_app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from bson import ObjectId
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, BeforeValidator, Field
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.contract import Lead


class NewLead(BaseModel):
    """What a form of ours sends. An e-mail address is enough, and so is a website."""

    email: str | None = None
    website: str | None = None
    name: str | None = None
    company: str | None = None


class StoredLead(Lead, NewLead):
    """A lead as we show it: with what was found, without the daemon's book-keeping."""

    id: Annotated[str, BeforeValidator(str), Field(validation_alias="_id")]
    enrichment: Annotated[Any, Field(exclude=True)] = None


class Accepted(BaseModel):
    id: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncMongoClient(os.environ["MONGODB_URI"], tz_aware=True) as client:
        app.state.leads = client[os.environ.get("MONGODB_DATABASE", "crm")]["leads"]
        yield


app = FastAPI(title="Leads", lifespan=lifespan)


def stored(request: Request) -> AsyncCollection:
    return request.app.state.leads


Leads = Annotated[AsyncCollection, Depends(stored)]


def object_id(id: str) -> ObjectId:
    if not ObjectId.is_valid(id):
        raise HTTPException(404)
    return ObjectId(id)


LeadId = Annotated[ObjectId, Depends(object_id)]


@app.post("/leads", status_code=201)
async def add(lead: NewLead, leads: Leads) -> Accepted:
    """Insert it, and do nothing else: the daemon sees it."""
    inserted = await leads.insert_one(lead.model_dump(exclude_none=True))
    return Accepted(id=str(inserted.inserted_id))


@app.post("/leads/{id}/enrich", status_code=202)
async def enrich(id: LeadId, leads: Leads) -> Accepted:
    """Ask for a new run, also of a lead that is in work."""
    changed = await leads.update_one({"_id": id}, {"$set": {"enrichment_status": "pending"}})
    if not changed.matched_count:
        raise HTTPException(404)
    return Accepted(id=str(id))


@app.get("/leads/{id}", response_model_exclude_none=True)
async def show(id: LeadId, leads: Leads) -> StoredLead:
    """Show it as it stands: `enrichment_status` says whether more is to come."""
    lead = await leads.find_one({"_id": id})
    if lead is None:
        raise HTTPException(404)
    return StoredLead.model_validate(lead)
