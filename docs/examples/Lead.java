package com.example.leads;

import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.bson.types.ObjectId;
import org.springframework.data.annotation.Id;
import org.springframework.data.mongodb.core.mapping.Document;
import org.springframework.data.mongodb.core.mapping.Field;
import org.springframework.data.repository.Repository;

/** A lead with what enricher found, to be read: what is not declared here is left out. */
@Document("leads")
public record Lead(
    @Id ObjectId id,
    String email,
    @Field("enrichment_status") String enrichmentStatus,
    @Field("enriched_data") EnrichedData enrichedData,
    @Field("enriched_at") Instant enrichedAt,
    @Field("enrichment_error") String enrichmentError) {

  public record EnrichedData(
      @Field("company_data") CompanyData companyData,
      @Field("email_verification") EmailVerification emailVerification) {}

  public record CompanyData(
      String name,
      String industry,
      @Field("employee_count") Long employeeCount,
      @Field("tech_stack") List<String> techStack) {}

  public record EmailVerification(
      String status, Double score, @Field("is_disposable") Boolean isDisposable) {}
}

/** `Repository` and not `MongoRepository`: that one's save() replaces the whole document with what is declared here. */
interface Leads extends Repository<Lead, ObjectId> {
  Optional<Lead> findById(ObjectId id);

  List<Lead> findByEnrichmentStatus(String enrichmentStatus);
}
